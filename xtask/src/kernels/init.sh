#!/bin/busybox sh
# First process of the machine: mounts the host's tree read-only with an overlay in memory, runs the command in it, reports its exit status.
# ttyS0 console, ttyS1 standard output, ttyS2 standard error, ttyS3 exit status.
B=/bin/busybox
$B --install -s /bin
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LANG=C.UTF-8
$B mount -t proc proc /proc
$B mount -t sysfs sys /sys
$B mount -t devtmpfs dev /dev 2>/dev/null
fail() { echo "init: $*" >/dev/ttyS0; echo fail >/dev/ttyS3; $B poweroff -f; }
for t in 1 2 3; do $B stty -F /dev/ttyS$t raw -echo 115200; done
mkdir -p /dev/pts /dev/shm
$B mount -t devpts -o ptmxmode=666 pts /dev/pts
$B mount -t tmpfs shm /dev/shm
ln -sf /proc/self/fd /dev/fd
$B mount -t bpf bpf /sys/fs/bpf
$B mount -t cgroup2 cg /sys/fs/cgroup
$B ip link set lo up
$B hostname vm
for m in virtio_pci virtiofs overlay; do $B modprobe $m 2>/dev/null; done
$B mount -t virtiofs -o ro root /host || fail "cannot mount the host's tree"
$B mount -t tmpfs rw /rw
mkdir /rw/u /rw/w
$B mount -t overlay -o lowerdir=/host,upperdir=/rw/u,workdir=/rw/w ov /new || fail "cannot mount the overlay"
for d in proc sys dev; do $B mount --rbind /$d /new/$d; done
$B mount -t tmpfs run /new/run
# Modules that the kernel asks for later come straight from the host's tree.
rm -rf "/lib/modules/$($B uname -r)"
ln -s "/host/$(cat /modules)" "/lib/modules/$($B uname -r)"
cp /command /new/command
echo "init: ready" >/dev/ttyS0
$B chroot /new /bin/sh /command </dev/null >/dev/ttyS1 2>/dev/ttyS2
echo $? >/dev/ttyS3
$B sync
$B poweroff -f
