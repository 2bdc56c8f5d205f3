# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_mta_trace_global_optspecs
    string join \n h/help V/version
end

function __fish_mta_trace_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_mta_trace_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_mta_trace_using_subcommand
    set -l cmd (__fish_mta_trace_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c mta-trace -n "__fish_mta_trace_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mta-trace -n "__fish_mta_trace_needs_command" -s V -l version -d 'Print version'
complete -c mta-trace -n "__fish_mta_trace_needs_command" -f -a "attach" -d 'Trace a running mail server and say what each SMTP command waited for'
complete -c mta-trace -n "__fish_mta_trace_needs_command" -f -a "probe" -d 'Play a test session against a server, and trace it'
complete -c mta-trace -n "__fish_mta_trace_needs_command" -f -a "report" -d 'Make the report again from a saved log'
complete -c mta-trace -n "__fish_mta_trace_needs_command" -f -a "export" -d 'Write a log in the format of another program'
complete -c mta-trace -n "__fish_mta_trace_needs_command" -f -a "diff" -d 'Show what a change of the configuration did: two logs side by side'
complete -c mta-trace -n "__fish_mta_trace_needs_command" -f -a "doctor" -d 'Tell whether tracing can work here, and what is missing'
complete -c mta-trace -n "__fish_mta_trace_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mta-trace -n "__fish_mta_trace_using_subcommand attach" -s p -l pid -d 'The mail server\'s daemon, or one child that serves a session already' -r
complete -c mta-trace -n "__fish_mta_trace_using_subcommand attach" -l port -d 'Port on which the mail server listens [default: 25]' -r
complete -c mta-trace -n "__fish_mta_trace_using_subcommand attach" -l mta -d 'Name of the mail server: sendmail, postfix, exim, opensmtpd' -r
complete -c mta-trace -n "__fish_mta_trace_using_subcommand attach" -l client -d 'Only sessions of these clients: an address or a network; may be repeated' -r
complete -c mta-trace -n "__fish_mta_trace_using_subcommand attach" -l sessions -d 'End after N sessions have ended' -r
complete -c mta-trace -n "__fish_mta_trace_using_subcommand attach" -l duration -d 'End after this time, such as 30s, 5m, 1h30m' -r
complete -c mta-trace -n "__fish_mta_trace_using_subcommand attach" -s o -l output -d 'Keep the event log in this file (.zst compresses; - is standard output)' -r -F
complete -c mta-trace -n "__fish_mta_trace_using_subcommand attach" -l slower-than -d 'Keep only sessions in which something took at least this time' -r
complete -c mta-trace -n "__fish_mta_trace_using_subcommand attach" -l log-max-size -d 'Rename the log to LOG.1 and begin it again when it is larger than this, such as 100M' -r
complete -c mta-trace -n "__fish_mta_trace_using_subcommand attach" -l min-wait -d 'Waits below this are only summed up' -r
complete -c mta-trace -n "__fish_mta_trace_using_subcommand attach" -l hooks -d 'How the kernel tells of completed system calls' -r -f -a "auto\t'fentry where the kernel attaches it, else tracepoint'
fentry\t'A program on each call\'s own function: costs other processes next to nothing'
tracepoint\t'One program on the tracepoint of all calls: works everywhere'"
complete -c mta-trace -n "__fish_mta_trace_using_subcommand attach" -l ring-size -d 'Size of the buffer in which events wait to be read, a power of two' -r
complete -c mta-trace -n "__fish_mta_trace_using_subcommand attach" -l ring-dump -d 'Write every record of the ring as it is into this file; for tests' -r -F
complete -c mta-trace -n "__fish_mta_trace_using_subcommand attach" -l view -d 'What is shown while it runs [default: timeline; none with -o -]' -r -f -a "timeline\t'The dialogue, with the waits in between'
strace\t'The system calls, in strace\'s form'
none\t'Nothing; the report comes at the end'"
complete -c mta-trace -n "__fish_mta_trace_using_subcommand attach" -l existing -d 'Also sessions that are running already'
complete -c mta-trace -n "__fish_mta_trace_using_subcommand attach" -l force -d 'Overwrite the log if it exists'
complete -c mta-trace -n "__fish_mta_trace_using_subcommand attach" -l no-chains -d 'Do not look into the processes for which a session waits'
complete -c mta-trace -n "__fish_mta_trace_using_subcommand attach" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mta-trace -n "__fish_mta_trace_using_subcommand probe" -s p -l pid -d 'The mail server\'s daemon, or one child that serves a session already' -r
complete -c mta-trace -n "__fish_mta_trace_using_subcommand probe" -l port -d 'Port on which the mail server listens [default: 25]' -r
complete -c mta-trace -n "__fish_mta_trace_using_subcommand probe" -l mta -d 'Name of the mail server: sendmail, postfix, exim, opensmtpd' -r
complete -c mta-trace -n "__fish_mta_trace_using_subcommand probe" -l to -d 'The server: an address or a name, and a port if it is not 25, such as 127.0.0.1:587' -r -f -a "(__fish_print_hostnames)"
complete -c mta-trace -n "__fish_mta_trace_using_subcommand probe" -l from -d 'Sender; <> is the null sender' -r
complete -c mta-trace -n "__fish_mta_trace_using_subcommand probe" -l rcpt -d 'Recipient; may be repeated' -r
complete -c mta-trace -n "__fish_mta_trace_using_subcommand probe" -l helo -l ehlo -d 'Name for EHLO [default: this host\'s]' -r
complete -c mta-trace -n "__fish_mta_trace_using_subcommand probe" -l auth -l auth-user -d 'Authenticate as this user, by PLAIN or LOGIN' -r
complete -c mta-trace -n "__fish_mta_trace_using_subcommand probe" -l password-file -d 'File whose first line is the password; - is standard input' -r -F
complete -c mta-trace -n "__fish_mta_trace_using_subcommand probe" -l data -d 'The message, headers and all (- is standard input); none: RSET behind RCPT [default: a short one]' -r -F
complete -c mta-trace -n "__fish_mta_trace_using_subcommand probe" -l quit-after -d 'Say QUIT after this: connect, first-helo, tls, helo, auth, mail, rcpt' -r
complete -c mta-trace -n "__fish_mta_trace_using_subcommand probe" -l timeout -d 'Longest time for the connection, for each reply and for the TLS handshake' -r
complete -c mta-trace -n "__fish_mta_trace_using_subcommand probe" -s o -l output -d 'Keep the event log of the server\'s side in this file (.zst compresses)' -r -F
complete -c mta-trace -n "__fish_mta_trace_using_subcommand probe" -l format -d 'Form of the report' -r -f -a "text\t'For people, 80 columns'
json\t'mta-trace.report/1'"
complete -c mta-trace -n "__fish_mta_trace_using_subcommand probe" -l min-wait -d 'Waits below this are only summed up' -r
complete -c mta-trace -n "__fish_mta_trace_using_subcommand probe" -l hooks -d 'How the kernel tells of completed system calls' -r -f -a "auto\t'fentry where the kernel attaches it, else tracepoint'
fentry\t'A program on each call\'s own function: costs other processes next to nothing'
tracepoint\t'One program on the tracepoint of all calls: works everywhere'"
complete -c mta-trace -n "__fish_mta_trace_using_subcommand probe" -l ring-size -d 'Size of the buffer in which events wait to be read, a power of two' -r
complete -c mta-trace -n "__fish_mta_trace_using_subcommand probe" -l ring-dump -d 'Write every record of the ring as it is into this file; for tests' -r -F
complete -c mta-trace -n "__fish_mta_trace_using_subcommand probe" -l auth-without-tls -d 'Send the password without TLS to a server that is not on this machine'
complete -c mta-trace -n "__fish_mta_trace_using_subcommand probe" -l starttls -l tls -d 'Begin TLS by STARTTLS; nothing more is sent where that fails'
complete -c mta-trace -n "__fish_mta_trace_using_subcommand probe" -l tls-verify -d 'Take only a certificate that this machine trusts and that is for the host of --to'
complete -c mta-trace -n "__fish_mta_trace_using_subcommand probe" -l pipeline -d 'Send MAIL, RCPT and DATA together if the server offers PIPELINING'
complete -c mta-trace -n "__fish_mta_trace_using_subcommand probe" -l no-trace -d 'Only the client: needs no privilege and may run on another host'
complete -c mta-trace -n "__fish_mta_trace_using_subcommand probe" -l force -d 'Overwrite the log if it exists'
complete -c mta-trace -n "__fish_mta_trace_using_subcommand probe" -l no-chains -d 'Do not look into the processes for which a session waits'
complete -c mta-trace -n "__fish_mta_trace_using_subcommand probe" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mta-trace -n "__fish_mta_trace_using_subcommand report" -l format -d 'Form of the report' -r -f -a "text\t'For people, 80 columns'
json\t'mta-trace.report/1'
html\t'One file for a browser'"
complete -c mta-trace -n "__fish_mta_trace_using_subcommand report" -s o -l output -d 'Write the report into this file, which must not exist' -r -F
complete -c mta-trace -n "__fish_mta_trace_using_subcommand report" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mta-trace -n "__fish_mta_trace_using_subcommand export" -l to -d 'Format' -r -f -a "strace\t'Calls as strace -f -ttt -T -o FILE writes them'
strace-ff\t'The same in one file for each process, as strace -ff -o PREFIX: FOLDER/strace.PID'
perfetto\t'Perfetto trace: sessions, commands, waits and calls as slices, for ui.perfetto.dev'
chrome\t'Chrome trace JSON: the same slices for other viewers'
csv\t'Tables of commands and waits, for spreadsheets'
otlp\t'OpenTelemetry traces: to a collector by --endpoint, or as OTLP JSON'
folded\t'Folded stacks for flame graphs: session;command;cause;target and microseconds'
log\t'The log itself as JSON Lines, for report, diff and export; with --anonymize to give away'
parquet\t'Tables of sessions, commands, waits and events for DuckDB; only in builds with `--features parquet`'"
complete -c mta-trace -n "__fish_mta_trace_using_subcommand export" -s o -l output -d 'Write into this file or folder, which must not exist [default: standard output, where one file is written]' -r -F
complete -c mta-trace -n "__fish_mta_trace_using_subcommand export" -l table -d 'Write only this table, where the format has several: into one file, or to standard output' -r
complete -c mta-trace -n "__fish_mta_trace_using_subcommand export" -l endpoint -d 'Send to this server, where the format has a protocol for that' -r -f
complete -c mta-trace -n "__fish_mta_trace_using_subcommand export" -l anonymize -d 'Replace addresses, host names, users and what else may name somebody, the same by the same'
complete -c mta-trace -n "__fish_mta_trace_using_subcommand export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mta-trace -n "__fish_mta_trace_using_subcommand diff" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mta-trace -n "__fish_mta_trace_using_subcommand doctor" -l programs -d 'Also list the eBPF programs'
complete -c mta-trace -n "__fish_mta_trace_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mta-trace -n "__fish_mta_trace_using_subcommand help; and not __fish_seen_subcommand_from attach probe report export diff doctor help" -f -a "attach" -d 'Trace a running mail server and say what each SMTP command waited for'
complete -c mta-trace -n "__fish_mta_trace_using_subcommand help; and not __fish_seen_subcommand_from attach probe report export diff doctor help" -f -a "probe" -d 'Play a test session against a server, and trace it'
complete -c mta-trace -n "__fish_mta_trace_using_subcommand help; and not __fish_seen_subcommand_from attach probe report export diff doctor help" -f -a "report" -d 'Make the report again from a saved log'
complete -c mta-trace -n "__fish_mta_trace_using_subcommand help; and not __fish_seen_subcommand_from attach probe report export diff doctor help" -f -a "export" -d 'Write a log in the format of another program'
complete -c mta-trace -n "__fish_mta_trace_using_subcommand help; and not __fish_seen_subcommand_from attach probe report export diff doctor help" -f -a "diff" -d 'Show what a change of the configuration did: two logs side by side'
complete -c mta-trace -n "__fish_mta_trace_using_subcommand help; and not __fish_seen_subcommand_from attach probe report export diff doctor help" -f -a "doctor" -d 'Tell whether tracing can work here, and what is missing'
complete -c mta-trace -n "__fish_mta_trace_using_subcommand help; and not __fish_seen_subcommand_from attach probe report export diff doctor help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
