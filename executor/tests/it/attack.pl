# Tries to change everything that can be seen, and names what it could.
my %mine = map { $_ => 1 } ('/work', '/work/out', '/tmp', '/dev/shm');
open(my $info, '<', '/proc/self/mountinfo') or die "mountinfo: $!";
my @mounts = map { (split ' ', $_)[4] } <$info>;
close $info;
s/\\(\d{3})/chr oct $1/ge for @mounts;
my $budget = 3000;
my ($name, $value) = ("user.x", "v");

sub is_mine { my $path = shift; for (keys %mine) { return 1 if $path eq $_ or index($path, "$_/") == 0 } 0 }

sub tell_of { my ($what, $path) = @_; print "$what $path\n" unless is_mine($path) }

sub attack_directory {
    my $path = shift;
    if (open(my $file, '>', "$path/intruder")) { tell_of('created in', $path); close $file }
    tell_of('made a directory in', $path) if mkdir "$path/intruding";
    tell_of('linked in', $path) if symlink 'x', "$path/intruding-link";
    tell_of('changed the mode of', $path) if chmod 0777, $path;
    tell_of('changed the time of', $path) if utime 1, 1, $path;
}

sub attack_file {
    my $path = shift;
    tell_of('changed the mode of', $path) if chmod 0777, $path;
    tell_of('changed the time of', $path) if utime 1, 1, $path;
    tell_of('gave an attribute to', $path) if syscall(188, $path, $name, $value, 1, 0) == 0;
    tell_of('linked', $path) if link $path, '/work/out/link' and unlink '/work/out/link';
    # Only opened, never written to: should it succeed, the machine shall survive the test.
    if (-f $path && open(my $file, '+<', $path)) { tell_of('opened', $path); close $file }
    return if -c $path or index($path, '/proc/') == 0;
    tell_of('truncated', $path) if truncate $path, 0;
    tell_of('renamed', $path) if rename $path, "$path.moved";
    tell_of('removed', $path) if unlink $path;
}

sub walk {
    my $path = shift;
    return if $budget-- < 0 or $path =~ m{^/proc/(\d+|self|thread-self|net)(/|$)};
    if (-l $path) { return }
    if (-d $path) {
        attack_directory($path);
        opendir(my $folder, $path) or return;
        my @names = sort grep { !/^\.\.?$/ } readdir $folder;
        closedir $folder;
        walk($path eq '/' ? "/$_" : "$path/$_") for @names;
    } else {
        attack_file($path);
    }
}

# By system call: the program `mount` gives up before it has asked.
my ($remount, $bind) = (32, 4096);
for my $mount (@mounts) {
    for my $flags ($remount, $remount | $bind) {
        tell_of("remounted ($flags)", $mount) if syscall(165, $value, $mount, $value, $flags, 0) == 0;
    }
    # Not what is needed to go on.
    next if is_mine($mount) or $mount eq '/' or $mount eq '/usr' or $mount eq '/proc';
    tell_of('unmounted', $mount) if syscall(166, $mount, 0) == 0;
}
$budget = 3000, walk($_) for @mounts;
$budget = 3000, walk($_) for '/proc/sys', '/proc/irq', '/proc/bus', '/proc/sysrq-trigger';
print "done\n";
