#!/bin/bash
# SPDX-License-Identifier: MIT
# What systemd.bats lets a systemd in a container do; lines of "THING: VALUE" say what happened.
exec >/uvm-results 2>&1

SWAP=uvm-swap@redis-server

# wait_for COMMAND...: for twenty seconds at most.
wait_for() {
	local deadline=$((SECONDS + 20))
	until "$@"; do
		((SECONDS < deadline)) || return 1
		read -rt 0.05 <>/fifo
	done
}

state() {
	systemctl show -P ActiveState "$1"
}

has_state() {
	[[ $(state "$1") == "$2" ]]
}

main_pid() {
	systemctl show -P MainPID redis-server
}

contents() {
	redis-cli debug digest
}

session() {
	swapctl status 2>/dev/null | jq -rc "select(.type == \"session\") | $1"
}

has_session_of_main() {
	[[ $(session .pid) == $(main_pid) ]]
}

has_out() {
	[[ $(session .out_pages) -gt 0 ]]
}

# A session, and what can leave out.
start_out() {
	systemctl start "$SWAP"
	systemctl reload "$SWAP"
}

mkfifo /fifo
touch /var/lib/uvmtools/1.2.00000000.store
systemd-tmpfiles --create --remove uvmtools.conf
echo "store while it runs: $(ls /var/lib/uvmtools)"
systemd-tmpfiles --create --remove --boot uvmtools.conf
echo "store after a boot: $(ls /var/lib/uvmtools)"
echo "run: $(stat -c '%a %U' /run/uvmtools)"
systemd-sysusers uvmtools.conf
echo "group: $(getent group uvm | cut -d: -f1)"

echo 'enable-debug-command local' >>/etc/redis/redis.conf
systemctl start redis-server
echo "redis: $(state redis-server)"
redis-cli debug populate 60000 key 100 >/dev/null
echo "contents at first: $(contents)"

start_out
echo "session: $(state "$SWAP") $(has_session_of_main && echo 'of main')"
echo "out: $(session '.out_pages > 1000')"
echo "contents out: $(contents)"
systemctl stop "$SWAP"
echo "stopped: $(state "$SWAP") $(session .pid)"
echo "contents back: $(contents)"

# Its first process, and all of them.
for whom in main all; do
	start_out
	systemctl kill --kill-whom="$whom" --signal=KILL "$SWAP"
	wait_for has_state "$SWAP" failed
	echo "$whom killed: $(state "$SWAP") $(session .pid)"
	echo "contents after $whom: $(contents)"
done

start_out
systemctl restart redis-server
wait_for has_state "$SWAP" active
echo "followed: $(state "$SWAP") $(has_session_of_main && echo 'of main')"
systemctl stop redis-server
echo "bound: $(state "$SWAP") $(session .pid)"

systemctl start redis-server
redis-cli debug populate 60000 key 100 >/dev/null
mkdir -p /etc/uvmtools
printf '%s\n' '# what the unit reads' 'unit redis-server' 'min-saved 0' >/etc/uvmtools/auto.conf
systemctl start uvm-auto
echo "auto: $(state uvm-auto)"
wait_for has_out
echo "out by auto: $(session '.out_pages > 0')"
systemctl stop uvm-auto
echo "auto stopped: $(state uvm-auto) $(session .pid)"
echo "contents after auto: $(contents)"

systemctl start uvm-reclaim
echo "reclaim: $(state uvm-reclaim)"
systemctl stop uvm-reclaim
echo "reclaim stopped: $(systemctl show -P Result uvm-reclaim)"
journalctl --no-pager -q -u "$SWAP" -u uvm-auto -u uvm-reclaim -n 60 | sed 's/^/journal: /'
