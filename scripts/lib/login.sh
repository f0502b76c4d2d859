#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# login.sh HEIRLOOM WORDS...: runs `HEIRLOOM run WORDS...` with a disk of scripts/guest-disk, shows its console, logs in when
# asked to, shows what the guest has, and powers it off. Exits as heirloom does; 1 if the login does not come. Runs under
# busybox in the host VM, too.
# Seconds for all of it: a safety net.
LIMIT=800
heirloom=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkfifo "$work/keys"
: >"$work/console"
"$heirloom" run "$@" <"$work/keys" >"$work/console" 2>&1 &
machine=$!
exec 3>"$work/keys"
tail -f "$work/console" &
shown=$!

# type_after TEXT KEYS: waits until the console shows TEXT once more, then types.
seen=0 waited=0
type_after() {
    until [ "$(grep -c -e "$1" "$work/console")" -gt "$seen" ]; do
        if ! kill -0 "$machine" 2>/dev/null; then
            echo "login: the machine ended before it said '$1'" >&2
            kill "$shown"
            exit 1
        fi
        waited=$((waited + 1))
        if [ "$waited" -gt "$LIMIT" ]; then
            echo "login: the console did not say '$1' in $LIMIT s" >&2
            kill "$machine" "$shown"
            exit 1
        fi
        sleep 1
    done
    printf '%s\r' "$2" >&3
}

type_after 'heirloom login:' root
type_after 'Password:' heirloom
type_after 'root@heirloom:~#' 'cat /etc/os-release /proc/version; head /sys/bus/virtio/devices/*/features; df -h /'
seen=1
type_after 'root@heirloom:~#' 'ping -c 2 10.0.2.2; poweroff'
wait "$machine"
code=$?
sleep 1
kill "$shown"
exit "$code"
