#!/bin/sh
# The first process of one host of the tests (host.h starts it, in new namespaces): builds a root of
# its own, which has the system's programs and longrun's, read-only, and nothing else of this
# machine; then waits for its end, as pid 1. Writes "ready" when the root is complete.
#
#   host.sh ROOT NAME DISK PROGRAMS [FOLDER]...
#
# ROOT is an empty folder. DISK becomes /srv/NAME, PROGRAMS is /opt/longrun/bin, and each FOLDER
# (LibTorch) is at its own path.
set -eu
root=$1 name=$2 disk=$3 programs=$4
shift 4

show() { # show FROM TO: FROM, read-only, at TO of the root
  mkdir -p "$root$2"
  mount --bind "$1" "$root$2"
  mount -o remount,bind,ro "$root$2"
}

mount -t tmpfs -o size=64m,mode=0755 "$name" "$root"
mkdir -p "$root/tmp" "$root/run" "$root/proc" "$root/dev" "$root/etc" "$root/old" "$root/srv/$name"
chmod 1777 "$root/tmp"
show /usr /usr
for path in /bin /sbin /lib /lib32 /lib64; do
  if [ -h $path ]; then cp -P $path "$root$path"; elif [ -d $path ]; then show $path $path; fi
done
show "$programs" /opt/longrun/bin
for path in "$@"; do show "$path" "$path"; done
for device in null zero full random urandom; do
  : > "$root/dev/$device"
  mount --bind /dev/$device "$root/dev/$device"
done
mkdir "$root/dev/shm"
mount -t tmpfs -o size=64m shm "$root/dev/shm"
mount --bind "$disk" "$root/srv/$name"
mount -t proc proc "$root/proc"
echo 'root:x:0:0:root:/root:/bin/sh' > "$root/etc/passwd"
echo 'root:x:0:' > "$root/etc/group"
echo "127.0.0.1 localhost $name" > "$root/etc/hosts"
hostname "$name"
ip link set lo up

cd "$root"
pivot_root . old
umount -l /old
rmdir /old
echo ready
# Processes whose parent has ended become children of pid 1: ignoring SIGCHLD buries them.
exec env --ignore-signal=CHLD sleep infinity
