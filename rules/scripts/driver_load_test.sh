# Boots a kernel in a virtual machine with a driver beside it, and judges what its first process tells.
#
# /image: the kernel's package; /vm/init, /vm/driver.ko.gz, /vm/exercise: what goes into the machine; /data: more.
set -eu
results=/work/out/results
mkdir -p "$results" /work/root/bin /work/root/data
kernel=/image/boot/vmlinuz-$RELEASE
if [ ! -e "$kernel" ]; then
	echo "the package of the kernel has no boot/vmlinuz-$RELEASE" >&2
	exit 1
fi

# Nobody can guess it: the driver and its script say nothing that could be taken for a step.
marker=$(cat /proc/sys/kernel/random/uuid)
fence=$(cat /proc/sys/kernel/random/uuid)
cd /work/root
cp /bin/busybox bin/busybox
cp /vm/init init
chmod 755 init bin/busybox
gzip -dc /vm/driver.ko.gz >driver.ko
cp /vm/exercise exercise
echo "$marker $fence" >marker
printf '%s\n' "$PARAMETERS" >parameters
if [ -d /data ]; then
	cp -R /data/. data/
fi
find . | sort | cpio -o -H newc -R 0:0 --quiet >/work/initrd
cd /work
: >console.log
: >steps.log
: >guest.log

status=0
timeout -k 5 "$SECONDS_MAX" qemu-system-x86_64 \
	-M pc -accel tcg -cpu max -m "$MEMORY_MB" -nodefaults -no-user-config -no-reboot -display none \
	-kernel "$kernel" -initrd initrd -append "console=ttyS0 panic=-1 rdinit=/init" \
	-chardev file,id=console,path=console.log -serial chardev:console \
	-chardev file,id=steps,path=steps.log -serial chardev:steps \
	-chardev file,id=guest,path=guest.log -serial chardev:guest \
	</dev/null || status=$?
tr -d '\r' <console.log >"$results/console.log"
tr -d '\r' <guest.log >"$results/guest.log"

booted= load= exercise= unload= before= after= end=
while read -r mark step value more; do
	[ "$mark" = "$marker" ] || continue
	echo "$step $value${more:+ $more}"
	case $step in
	booted) booted=$value ;;
	load) load=$value ;;
	exercise) exercise=$value ;;
	unload) unload=$value ;;
	taint) before=$value after=$more ;;
	end) end=yes ;;
	esac
done <steps.log >"$results/steps"

# What the kernel said of the driver; the end of all that it said, if it never came so far.
since() {
	if grep -qF "$fence begin" "$results/console.log"; then
		sed -e "1,/$fence begin/d" -e "/$fence end/,\$d" "$results/console.log"
	else
		tail -n 40 "$results/console.log"
	fi
}
fail() {
	echo "FAILED: $*"
	failed=yes
}
failed=
if [ -n "$booted" ] && [ "$booted" != "$RELEASE" ]; then
	fail "the kernel that booted is $booted, not $RELEASE"
elif [ "$status" = 124 ] || [ "$status" = 137 ]; then
	if [ -z "$booted" ]; then
		fail "the kernel did not boot within $SECONDS_MAX seconds"
	else
		fail "the machine did not come to its end within $SECONDS_MAX seconds; the last step was: $(tail -n 1 "$results/steps")"
	fi
elif [ "$status" != 0 ]; then
	fail "the virtual machine broke with exit status $status"
elif [ -z "$booted" ]; then
	fail "the kernel did not boot"
elif [ -z "$load" ]; then
	fail "the kernel died while the driver was loaded"
elif [ "$load" != 0 ]; then
	fail "the driver cannot be loaded into $RELEASE (insmod: exit status $load)"
elif [ -z "$exercise" ]; then
	fail "the kernel died while the driver was exercised"
elif [ "$exercise" != 0 ]; then
	fail "the driver was loaded, but exercising it failed (exit status $exercise)"
elif [ -z "$unload" ]; then
	fail "the kernel died while the driver was unloaded"
elif [ "$unload" != 0 ]; then
	fail "the driver cannot be unloaded (rmmod: exit status $unload)"
elif [ -z "$end" ]; then
	fail "the kernel died after the driver was unloaded"
fi
# The kernel's own account: 128 after an oops or BUG, 512 after a warning, 16384 after a lockup.
if [ -n "$after" ]; then
	for bit in 128:"an oops" 512:"a warning" 16384:"a lockup"; do
		number=${bit%%:*}
		if [ $((after & number)) != 0 ] && [ $((before & number)) = 0 ]; then
			fail "the kernel reports ${bit#*:}"
		fi
	done
fi
[ -n "$failed" ] || echo "the driver was loaded into $RELEASE, exercised and unloaded"
echo "-- the kernel said:"
since
echo "-- the machine's programs said:"
cat "$results/guest.log"
[ -z "$failed" ]
