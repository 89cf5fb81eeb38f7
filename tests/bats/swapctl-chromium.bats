#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# swapctl(1) on a renderer of Chromium: namespaces, seccomp and another user at once. Where the package is installed.

bats_require_minimum_version 1.5.0
load swap_helper

# A page that verifies 32 MiB of its own over and over, and the server that it tells.
write_page() {
	cat >"$BATS_TEST_TMPDIR/server.py" <<-'PYTHON'
		import http.server, sys
		PAGE = b"""<script>
		const words = new Uint32Array(8 << 20);
		for (let i = 0; i < words.length; i++) words[i] = Math.imul(i, 2654435761);
		async function look() {
		    let wrong = 0;
		    for (let i = 0; i < words.length; i++) if (words[i] !== (Math.imul(i, 2654435761) >>> 0)) wrong++;
		    await fetch(wrong ? "/wrong" : "/right", {method: "POST"});
		    setTimeout(look, 100);
		}
		look();
		</script>"""
		class Handler(http.server.BaseHTTPRequestHandler):
		    def answer(self, body):
		        self.send_response(200)
		        self.send_header("Content-Length", str(len(body)))
		        self.end_headers()
		        self.wfile.write(body)
		    def do_GET(self):
		        self.answer(PAGE)
		    def do_POST(self):
		        print(self.path[1:], flush=True)
		        self.answer(b"")
		    def log_message(self, *_):
		        pass
		server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
		print("ready", server.server_address[1], flush=True)
		server.serve_forever()
	PYTHON
}

rounds() {
	grep -c "^$1" "$ANSWERS" || :
}

more_rounds() {
	(($(rounds right) >= $1))
}

descendants() {
	local child
	for child in $(pgrep -P "$1"); do
		echo "$child"
		descendants "$child"
	done
}

# The one with the page's memory.
find_renderer() {
	local pid best=0 size
	for pid in $(descendants "$1"); do
		grep -qz -- --type=renderer "/proc/$pid/cmdline" || continue
		size=$(rss_anon "$pid")
		if ((size > best)); then
			best=$size TARGET_PID=$pid
		fi
	done
	((best > 32 * 1048576))
}

@test "a renderer of Chromium is swapped out and goes on as if nothing had been" {
	if ! command -v chromium >/dev/null; then
		skip "chromium is not installed"
	fi
	local profile browser before
	profile=$(mktemp -d /tmp/uvmtools-nobody.XXXXXX)
	chown 65534:65534 "$profile"
	write_page
	start_target /usr/bin/python3 "$BATS_TEST_TMPDIR/server.py"
	ANSWERS=$TARGET_DIR/out
	HOME=$profile TMPDIR=$profile XDG_CONFIG_HOME=$profile XDG_CACHE_HOME=$profile /usr/bin/setpriv --reuid=65534 --regid=65534 --clear-groups chromium --headless --disable-gpu --no-first-run \
		--disable-dev-shm-usage --user-data-dir="$profile" --remote-debugging-port=0 "http://127.0.0.1:$TARGET_READY/" \
		>"$BATS_TEST_TMPDIR/chromium.log" 2>&1 3>&- &
	browser=$!
	add_target "$browser"
	wait_for 60 more_rounds 3
	find_renderer "$browser"
	end_later "$TARGET_PID"
	assert_regex "$(grep ^Seccomp: "/proc/$TARGET_PID/status")" '2$'
	before=$(rss_anon)
	swap_most out -p "$TARGET_PID"
	(($(summary .moved_bytes) > before / 2))
	wait_for 60 more_rounds $(($(rounds right) + 5))
	swap_most out -p "$TARGET_PID"
	wait_for 60 more_rounds $(($(rounds right) + 5))
	swap_ok detach -p "$TARGET_PID"
	wait_for 60 more_rounds $(($(rounds right) + 5))
	assert_equal "$(rounds wrong)" 0
	kill -KILL "${TARGETS[@]}"
	removed() { rm -rf "$profile" 2>/dev/null; }
	wait_for 20 removed
}
