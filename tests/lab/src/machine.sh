# A machine that boots with systemd, in namespaces: what runs here is Debian as it is installed, on a disk of its own in memory.
# Its network is the one that this is run in. When the standard input ends, however that comes, its power is cut and nothing of it is left.
# usage: bash -c … machine DIR SOURCE PROGRAM BEFORE
#   DIR      an empty directory of a name that no other has; in it, `pid` is the number of the machine's process 1 once that runs, and `off`
#            is there when the machine has ended by itself
#   SOURCE   what is seen as /usr/src/kavadam in it, read-only
#   PROGRAM  becomes /root/kavadam in it
#   BEFORE   is run in it before it boots
set -eu
dir=$1 source=$2 program=$3 before=$4
cannot() { echo "this machine cannot $*: use a full virtual machine with Debian's kernel" >&2; exit 1; }

# Nothing that is mounted here is seen by anybody else, and all of it goes with the last process.
mount --make-rprivate /
mkdir "$dir/disk"
mount -t tmpfs -o mode=755 disk "$dir/disk" || cannot mount a file system in memory
cd "$dir/disk"
mkdir written work root groups
mount -t overlay -o "lowerdir=/,upperdir=$PWD/written,workdir=$PWD/work" overlay root ||
  cannot lay a disk over its own files '(overlay, CONFIG_OVERLAY_FS)'
# From the first namespace of control groups this would set the host's own options: those of this mount.
unshare --cgroup mount -t cgroup2 groups groups || cannot mount control groups '(cgroup2, CONFIG_CGROUPS)'
group=$PWD/groups/${dir##*/}
mkdir "$group" || cannot make a control group
# Whatever ends this, the machine ends with it.
cut_power() {
  # Again, until it is in there: it may not have entered its group yet.
  while [ -e "$group/cgroup.kill" ] && [ -n "$(jobs -pr)" ]; do
    echo 1 >"$group/cgroup.kill"
    sleep 0.05
  done
  wait
  # A group is busy until the kernel has taken its last process away.
  for _ in $(seq 100); do
    if find "$group" -depth -type d -exec rmdir {} + 2>/dev/null; then break; fi
    sleep 0.05
  done
}
trap cut_power EXIT
trap 'exit 130' INT TERM HUP
[ -e "$group/cgroup.kill" ] || cannot 'end a control group as a whole (cgroup.kill, Linux 5.14)'

# Of what is installed here, nothing starts that the machine is not told to start, and of ours nothing is there.
rm -rf root/etc/kavadam root/var/lib/kavadam*
find root/etc/systemd/system root/etc/systemd/network -mindepth 1 -delete
: >root/etc/fstab
echo gate >root/etc/hostname
for unit in getty.target systemd-logind.service timers.target; do
  ln -s /dev/null "root/etc/systemd/system/$unit"
done
mkdir -p root/usr/src/kavadam
mount --bind -o ro "$source" root/usr/src/kavadam
cp "$program" root/root/kavadam

inside='
  dir=$1 before=$2
  # Its number to those outside, whose /proc this still is.
  read -r pid _ </proc/self/stat
  exec 3>"$dir/pid"
  cd "$dir/disk/root"
  mount -t proc proc proc
  # Of the settings of the kernel only those of the network are its own.
  mount --bind proc/sys proc/sys
  mount --bind proc/sys/net proc/sys/net
  mount -o remount,bind,ro proc/sys
  [ ! -e proc/sysrq-trigger ] || mount --bind /dev/null proc/sysrq-trigger
  # Read-only, as a container has it: there are no devices to be set up.
  mount -t sysfs -o ro sysfs sys
  mount -t cgroup2 cgroup2 sys/fs/cgroup
  mount -t tmpfs -o mode=755 dev dev
  for device in null zero full random urandom tty; do
    : >"dev/$device"
    mount --bind "/dev/$device" "dev/$device"
  done
  mkdir dev/pts dev/shm
  mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
  ln -s pts/ptmx dev/ptmx
  ln -s /proc/self/fd dev/fd
  for end in 0:stdin 1:stdout 2:stderr; do ln -s "fd/${end%:*}" "dev/${end#*:}"; done
  mount -t tmpfs -o mode=1777 shm dev/shm
  mount -t tmpfs -o mode=755 run run
  mount -t tmpfs -o mode=1777 tmp tmp
  hostname gate
  chroot . bash -euc "$before"
  pivot_root . .
  umount -l .
  cd /
  echo "$pid" >&3
  exec 3>&-
  # It cannot set the clock that all share, load modules, or touch hardware. Generators would start what old scripts in /etc/init.d want.
  exec env -i container=namespaces PATH=/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_GENERATOR_PATH=/nowhere \
    setpriv --bounding-set=-sys_time,-sys_module,-sys_rawio,-syslog,-wake_alarm,-mac_admin,-mac_override \
    /lib/systemd/systemd --system
'
(
  echo "$BASHPID" >"$group/cgroup.procs"
  unshare --cgroup --mount --pid --uts --ipc --fork bash -euc "$inside" inside "$dir" "$before" </dev/null || true
  : >"$dir/off"
) &
cat >/dev/null
