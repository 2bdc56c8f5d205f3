#!/bin/busybox sh
# First process of the machine: mounts the system's tree and the repository read-only with an overlay in memory, and the folder of results;
# runs the command there, leaves its output and exit status in the results.
B=/bin/busybox
$B --install -s /bin
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LANG=C.UTF-8
$B mount -t proc proc /proc
$B mount -t sysfs sys /sys
$B mount -t devtmpfs dev /dev 2>/dev/null
fail() { echo "init: $*"; $B poweroff -f; }
mkdir -p /dev/pts /dev/shm
$B mount -t devpts -o ptmxmode=666 pts /dev/pts
$B mount -t tmpfs shm /dev/shm
ln -sf /proc/self/fd /dev/fd
$B mount -t bpf bpf /sys/fs/bpf
$B mount -t cgroup2 cg /sys/fs/cgroup
$B ip link set lo up
$B hostname vm
for m in virtio_pci virtiofs overlay; do $B modprobe $m 2>/dev/null; done
share() { $B mount -t virtiofs -o "$1" "$2-share" "$3" || fail "cannot mount the host's $2"; }
share ro root /host
share ro repo /repo
$B mount -t tmpfs rw /rw
mkdir /rw/u /rw/w
$B mount -t overlay -o lowerdir=/host,upperdir=/rw/u,workdir=/rw/w ov /new || fail "cannot mount the overlay"
repository=/new$($B cat /repository) results=/new$($B cat /results)
mkdir -p "$repository"
$B mount --bind /repo "$repository"
share rw kept "$results"
for d in proc sys dev; do mkdir -p /new/$d; $B mount --rbind /$d /new/$d; done
mkdir -p /new/run
$B mount -t tmpfs run /new/run
# Modules that the kernel asks for later come straight from the host's tree.
rm -rf "/lib/modules/$($B uname -r)"
ln -s "/repo/$($B cat /modules)" "/lib/modules/$($B uname -r)"
cp /command /new/command
echo "init: ready"
$B chroot /new /bin/sh /command </dev/null >"$results/stdout" 2>"$results/stderr"
echo $? >"$results/status"
$B sync
$B poweroff -f
