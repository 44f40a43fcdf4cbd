#!/usr/bin/env bash
# Assembles the root file system of the container image: rootfs.sh BINARY DIRECTORY
# All that is in it: the binary, under the names memring and memcached; pgrep, which the liveness probes of some charts call;
# the libraries that both name; a user. No shell. Neither Containerfile nor test may add anything to it.
set -euo pipefail
binary=$1 root=$2
mkdir -p "$root"/{dev,etc,proc,sys,tmp,data,usr/local/bin,usr/bin}
# Where an error came from is still told by name; lines are not worth the 25 MB.
strip --strip-debug -o "$root/usr/local/bin/memring" "$binary"
ln -sf memring "$root/usr/local/bin/memcached"
install -m 0755 "$(command -v pgrep)" "$root/usr/bin/pgrep"
# Both forms that ldd prints: "name => path (address)" and, for the loader, "path (address)".
for program in "$root/usr/local/bin/memring" "$root/usr/bin/pgrep"; do
  ldd "$program" | awk '$2 == "=>" { print $3 } $1 ~ /^\// { print $1 }'
done | sort --unique | while read -r library; do
  install -D -m 0755 "$library" "$root$library"
done
# Of glibc: where host names are looked up, and who is who.
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
printf 'root:x:0:0::/:/nologin\nmemcache:x:11211:11211::/:/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\nmemcache:x:11211:\n' >"$root/etc/group"
chmod 1777 "$root/tmp"
# Hints and snapshots: where a volume is mounted, if there is one.
chmod 0777 "$root/data"
