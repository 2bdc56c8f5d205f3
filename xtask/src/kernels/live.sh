# In the machine: doctor, with what the verifier says of its programs, then the live tests with each back end; what each scenario left is kept
# on the host.
export CI=true EMULATED
export CARGO_TARGET_DIR=/lab MTA_TRACE_BIN="$PWD/TRACER" MTA_TRACE_LAB_CACHE="$PWD/LAB_PACKAGES"
rm -f RESULTS/verifier
LD_PRELOAD='VERIFIER_LOG' MTA_TRACE_VERIFIER_STATISTICS=RESULTS/verifier "$MTA_TRACE_BIN" doctor --programs >RESULTS/doctor 2>&1
status=$?
echo $status >RESULTS/doctor.status
[ $status = 0 ] || exit 0
# A page that the host has to read first would be a wait of the session's, as long as the host likes.
for program in sendmail/usr/libexec/sendmail/sendmail exim/usr/sbin/exim4; do
    program=$MTA_TRACE_LAB_CACHE/$program
    cat "$program" $(LD_LIBRARY_PATH=$MTA_TRACE_LAB_CACHE/exim-libraries/usr/lib ldd "$program" | grep -o '/[^ ]*') >/dev/null
done
cat "$MTA_TRACE_LAB_CACHE"/exim-libraries/usr/lib/*/*.so* >/dev/null 2>&1
for back_end in BACK_ENDS; do
    mkdir -p /lab
    for scenario in SCENARIOS; do
        MTA_TRACE_HOOKS=$back_end 'LIVE_TEST' --color never --test-threads SIDE_BY_SIDE "$scenario"
    done >"RESULTS/$back_end/output" 2>"RESULTS/$back_end/errors"
    echo OBJECT >"RESULTS/$back_end/object"
    for lab in /lab/lab-out/*; do
        [ -d "$lab" ] || continue
        kept="RESULTS/$back_end/${lab##*/}"
        mkdir -p "$kept"
        cp "$lab"/*.jsonl "$lab"/*.json "$kept" 2>/dev/null
    done
    rm -rf /lab
done
