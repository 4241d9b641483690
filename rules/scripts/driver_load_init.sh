#!/bin/busybox sh
# The first process of a virtual machine: loads a driver, exercises it, unloads it, and tells of each step.
#
# Steps are told on a serial line of their own, each with this boot's marker before it. What the kernel says goes to
# the console, what programs say to a third line: nothing that a driver or a script prints is taken for a step.
/bin/busybox mkdir -p /dev /proc /sys /tmp
/bin/busybox mount -t devtmpfs none /dev
/bin/busybox mount -t proc none /proc
/bin/busybox mount -t sysfs none /sys
/bin/busybox --install -s /bin
export PATH=/bin HOME=/tmp
for line in /dev/ttyS1 /dev/ttyS2; do
	stty -F "$line" raw -echo
done
# Read once and removed: the script that exercises the driver has no business with the first. The second stands in the
# kernel's log, where everybody can read it.
read -r marker fence </marker
rm /marker
exec 3>/dev/ttyS1
exec >/dev/ttyS2 2>&1 </dev/null
tell() { echo "$marker $*" >&3; }

# What the kernel says from here on is about the driver.
echo "$fence begin" >/dev/kmsg
tell booted "$(uname -r)"
# Read whole: what lies in /proc/sys gives nothing more after the first byte.
before=$(cat /proc/sys/kernel/tainted)
read -r parameters </parameters
# shellcheck disable=SC2086 # Each is a word of its own.
insmod /driver.ko $parameters
status=$?
tell load "$status"
if [ "$status" = 0 ]; then
	# The one that was loaded last stands first.
	read -r name rest </proc/modules
	DRIVER=$name sh -eu /exercise 3>&-
	tell exercise "$?"
	rmmod "$name"
	tell unload "$?"
fi
after=$(cat /proc/sys/kernel/tainted)
echo "$fence end" >/dev/kmsg
tell taint "$before" "$after"
tell end
# Closing a line waits until it is empty.
exec 3>&- >/dev/null 2>&1
poweroff -f
