#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Metrics, the files they go to, the dashboard and the alerts that are made of them.

# shellcheck disable=SC2030,SC2031 # each test is a process of its own
bats_require_minimum_version 1.5.0
load swap_helper
load reclaim_helper

setup() {
	begin_swap_test
	cd "$ROOT" || return
}

start_session() {
	start_target touch anon every $((4 * 1048576))
	swapctl out -p "$TARGET_PID" >/dev/null
	swapctl in -p "$TARGET_PID" >/dev/null
}

@test "promtool finds nothing to say about any metrics" {
	start_session
	swapctl status --format openmetrics >"$BATS_TEST_TMPDIR/swap.prom"
	superpages -p "$TARGET_PID" --format openmetrics >"$BATS_TEST_TMPDIR/superpages.prom"
	superpages --summary -p "$TARGET_PID" --format openmetrics >"$BATS_TEST_TMPDIR/summary.prom"
	start_ring 16 65536 free
	reclaimctl status -p "$TARGET_PID" --format openmetrics >"$BATS_TEST_TMPDIR/reclaim.prom"
	local file
	for file in "$BATS_TEST_TMPDIR"/*.prom; do
		run -0 promtool check metrics <"$file"
		assert_output ""
		assert_equal "$(tail -n 1 "$file")" '# EOF'
	done
	run -0 cat "$BATS_TEST_TMPDIR"/*.prom
	assert_line --regexp '^uvm_swap_sessions\{unit="[^"]*",comm="touch",cgroup="/[^"]*"\} 1$'
	assert_line '# UNIT uvm_swap_out_bytes bytes'
	assert_line '# TYPE uvm_swap_fault_seconds histogram'
	assert_line --regexp '^uvm_swap_fault_seconds_bucket\{.*,le="\+Inf"\} [0-9]+$'
	assert_line --regexp '^uvm_superpages_resident_bytes\{'
	assert_line --regexp '^uvm_reclaim_bytes\{'
	# The buckets add up.
	run -0 awk '/_bucket/ { if ($2 < last) exit 1; last = $2 } /_count/ { exit $2 != last }' "$BATS_TEST_TMPDIR/swap.prom"
}

@test "each metric of processes and of superpages is a key of the records that it is of" {
	start_session
	local processes superpages name key
	swapctl out -p "$TARGET_PID" >/dev/null
	processes=$(superpages --summary --idle 100ms -p "$TARGET_PID" | tee "$BATS_TEST_TMPDIR/usage" | jq -s '.[0]')
	superpages=$(superpages -p "$TARGET_PID" | jq -s '.[0]')
	superpages --summary --idle 100ms -p "$TARGET_PID" --format openmetrics >"$BATS_TEST_TMPDIR/summary.prom"
	while read -r name key; do
		jq -en "(\$processes | has(\"$key\")) or (\$superpages | has(\"$key\"))" --argjson processes "$processes" --argjson superpages "$superpages"
		jq -en "\$processes | has(\"$key\")" --argjson processes "$processes" || continue
		grep -q "^$name{.*comm=\"touch\"" "$BATS_TEST_TMPDIR/summary.prom" || fail "no $name of $key"
	done < <(sed -nE 's/^\t\{"(uvm_superpages_[a-z_]+)", "([a-z_]+)".*/\1 \2/p' cmd/superpages/superpages.c)
	assert_equal "$(awk '/^uvm_superpages_out_bytes/ { print ($2 > 1000000) }' "$BATS_TEST_TMPDIR/summary.prom")" 1
	run -0 grep -c '{' "$BATS_TEST_TMPDIR/summary.prom"
	assert_output "$(grep -c '^# TYPE' "$BATS_TEST_TMPDIR/summary.prom")"
}

@test "a file of metrics is replaced at once, as often as asked, and stays when the command ends" {
	start_session
	local file=$BATS_TEST_TMPDIR/uvm.prom
	umask 022
	swapctl status --interval 50ms --format openmetrics --output "$file" 3>&- &
	add_target "$!"
	wait_for 20 test -e "$file"
	assert_equal "$(stat -c %a "$file")" 644
	local first
	first=$(stat -c %i "$file")
	is_replaced() { [[ $(stat -c %i "$file") != "$first" ]]; }
	wait_for 20 is_replaced
	kill -INT "${TARGETS[-1]}"
	status=0
	wait "${TARGETS[-1]}" || status=$?
	assert_equal "$status" 130
	run -0 promtool check metrics <"$file"
	run -0 find "$BATS_TEST_TMPDIR" -maxdepth 1 -name '.uvm*'
	assert_output ""
}

@test "what cannot be written or has no metrics is refused" {
	start_session
	run -2 swapctl out -p "$TARGET_PID" --format openmetrics
	assert_output --partial 'it has no metrics'
	run -1 swapctl status --format openmetrics --output /nowhere/file
	assert_output 'swapctl status: cannot write /nowhere/file: No such file or directory'
	run -2 swapctl status --output "$BATS_TEST_TMPDIR"
	assert_output 'swapctl status: cannot use --output: it is no file'
}

@test "status at an interval has rates, which are not known at first" {
	start_session
	swapctl status --interval 50ms >"$BATS_TEST_TMPDIR/rates" 3>&- &
	add_target "$!"
	has_three() { (($(wc -l <"$BATS_TEST_TMPDIR/rates") >= 3)); }
	wait_for 20 has_three
	kill -TERM "${TARGETS[-1]}"
	status=0
	wait "${TARGETS[-1]}" || status=$?
	assert_equal "$status" 143
	run -0 jq -sc "map(select(.pid == ${TARGETS[0]})) | .[0].faults_per_s, (.[1] | .faults_per_s >= 0, .wait_percent >= 0, .moved_bytes_per_s >= 0)" \
		"$BATS_TEST_TMPDIR/rates"
	assert_output $'null\ntrue\ntrue\ntrue'
}

@test "the dashboard and the alerts use metrics that there are" {
	local name
	promtool check rules share/uvmtools/alerts.yml
	jq -e '.panels | length >= 8' share/uvmtools/dashboard.json
	for name in $(grep -ohE 'uvm_[a-z_]+' share/uvmtools/dashboard.json share/uvmtools/alerts.yml | sed -E 's/_(bucket|sum)$//' | sort -u); do
		[[ $name == uvmtools ]] || grep -qF "\"$name\"" cmd/*/*.c || fail "there is no $name"
	done
}
