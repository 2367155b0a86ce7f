#!/usr/bin/perl
# hardened.pl COMMAND...: runs it with what the unit /root/unit takes away from its processes, as systemd would, as far as
# it can be had here; writes the kinds that were into /root/hardening. For tests/stock.sh, in a mount name space of the caller's.
use strict;
use warnings;

my %unit;
open my $file, '<', '/root/unit' or die "unit: $!";
while (<$file>) { push @{ $unit{$1} }, split ' ', $2 if /^(\w+)=(.*)/ }
sub is { my ($name, $value) = @_; ($unit{$name} || [''])->[-1] eq $value }
my @kinds;

# prctl(2) is 157 here, seccomp's constants are Linux's.
use constant { PRCTL => 157, UNSHARE => 272, SET_SECCOMP => 22, CAPBSET_DROP => 24, SET_MDWE => 65 };
die "not this machine\n" unless `uname -m` eq "x86_64\n";

# Mounts, in a name space of its own.
if (syscall(UNSHARE, 0x20000) == 0 && system('mount --make-rprivate / 2>/dev/null') == 0) {
    if (is('ProcSubset', 'pid') && system('mount -t proc -o subset=pid proc /proc 2>/dev/null') == 0) {
        push @kinds, 'proc' unless -e '/proc/meminfo';
    }
    my @kept = is('ProtectSystem', 'full') ? qw(/usr /etc) : is('ProtectSystem', 'yes') ? qw(/usr) : ();
    my $read_only = @kept > 0;
    for (@kept) { $read_only &&= system("mount --bind $_ $_ && mount -o remount,bind,ro $_") == 0 }
    push @kinds, 'system' if $read_only;
}

# Capabilities: root's after an exec are those that are left here.
my %number = (
    CHOWN => 0, DAC_OVERRIDE => 1, DAC_READ_SEARCH => 2, SETGID => 6, SETUID => 7, NET_BIND_SERVICE => 10, SYS_CHROOT => 18,
);
my %left = map { my $name = s/^CAP_//r; ($number{$name} // die("CAP_$name\n")) => 1 } @{ $unit{CapabilityBoundingSet} };
my $dropped = 0;
for my $capability (0 .. 40) {
    next if $left{$capability};
    $dropped++ if syscall(PRCTL, CAPBSET_DROP, $capability, 0, 0, 0) == 0;
}
push @kinds, 'capabilities' if $dropped > 30;
push @kinds, 'memory' if is('MemoryDenyWriteExecute', 'yes') && syscall(PRCTL, SET_MDWE, 1, 0, 0, 0) == 0;

# System calls: whoever makes another one is killed, and master tells of it. Sockets of other families there are none.
my (%sets, $set, %call);
if (open my $sets, '<', '/root/sets') {
    while (<$sets>) {
        s/\e\[[0-9;]*m//g;
        if (/^(\@\S+)/) { $set = $1 } elsif (/^\s+([@\w]\S*)$/) { push @{ $sets{$set} }, $1 }
    }
}
if (open my $header, '<', '/root/unistd_64.h') {
    while (<$header>) { $call{$1} = $2 if /^#define __NR_(\w+) (\d+)/ }
}
sub members { my ($name) = @_; $name =~ /^@/ ? map({ members($_) } @{ $sets{$name} || [] }) : $name }
my %allowed = map { $_ => 1 } grep { defined } map { $call{$_} } map { members($_) } @{ $unit{SystemCallFilter} };
if (keys %allowed > 100) {
    my ($LOAD, $EQUAL, $RETURN) = (0x20, 0x15, 0x06);
    my ($ALLOW, $KILL, $ERRNO) = (0x7fff0000, 0x80000000, 0x00050000);
    my $op = sub { pack 'SCCL', @_ };
    my $filter = $op->($LOAD, 0, 0, 4) . $op->($EQUAL, 1, 0, 0xc000003e) . $op->($RETURN, 0, 0, $KILL) . $op->($LOAD, 0, 0, 0);
    # socket(2): UNIX, INET, INET6, NETLINK.
    $filter .= $op->($EQUAL, 0, 7, $call{socket}) . $op->($LOAD, 0, 0, 16);
    $filter .= $op->($EQUAL, 3, 0, 1) . $op->($EQUAL, 2, 0, 2) . $op->($EQUAL, 1, 0, 10) . $op->($EQUAL, 0, 1, 16);
    $filter .= $op->($RETURN, 0, 0, $ALLOW) . $op->($RETURN, 0, 0, $ERRNO | 97);
    $filter .= $op->($EQUAL, 0, 1, $_) . $op->($RETURN, 0, 0, $ALLOW) for sort { $a <=> $b } keys %allowed;
    $filter .= $op->($RETURN, 0, 0, $KILL);
    my $program = pack 'S x6 P', length($filter) / 8, $filter;
    push @kinds, 'calls' if syscall(PRCTL, SET_SECCOMP, 2, $program) == 0;
}
if (open my $told, '>>', '/root/hardening') { print $told "$_\n" for @kinds }
exec @ARGV or die "$ARGV[0]: $!";
