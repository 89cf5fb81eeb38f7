/* SPDX-License-Identifier: MIT */
/* swapctl top: sessions, or processes, as they change; and keys that act on them. */
#include "top.h"

#include <curses.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/size.h"
#include "base/text.h"
#include "cli/interrupt.h"

#define KEY_ESCAPE 27
#define KEY_DELETE 127
#define MS_NS      UINT64_C(1000000)

/* A request that a key has begun: this program, run once more. */
struct top_request {
	pid_t pid; /* 0: none */
	int errors;
	const char *verb;
	pid_t target;
};

struct top {
	struct run *run;
	struct top_view view;
	struct top_request request;
	bool ending;
};

static void exec_request(const struct top_request *request, int errors)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", request->target);
	if (!freopen("/dev/null", "w", stdout) || dup2(errors, STDERR_FILENO) < 0)
		_exit(EXIT_FAILED);
	execl("/proc/self/exe", "swapctl", request->verb, "-p", pid, NULL);
	_exit(EXIT_FAILED);
}

static void begin_request(struct top *top)
{
	struct top_view *view = &top->view;
	struct top_request *request = &top->request;
	int ends[2];

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return;
	request->verb = view->pending;
	request->target = view->pending_pid;
	request->pid = fork();
	if (request->pid == 0)
		exec_request(request, ends[1]);
	close(ends[1]);
	request->errors = ends[0];
	if (request->pid < 0) {
		request->pid = 0;
		close(ends[0]);
		return;
	}
	snprintf(view->message, sizeof(view->message), "%s of process %d ...", request->verb, request->target);
}

/* Its first error stands in the last line. */
static void end_request(struct top *top)
{
	struct top_request *request = &top->request;
	struct top_view *view = &top->view;
	ssize_t length;
	int status;

	if (!request->pid || waitpid(request->pid, &status, WNOHANG) != request->pid)
		return;
	length = read(request->errors, view->message, sizeof(view->message) - 1);
	if (length > 0) {
		view->message[length] = '\0';
		view->message[strcspn(view->message, "\n")] = '\0';
		text_make_safe(view->message);
	} else {
		snprintf(view->message, sizeof(view->message), "%s of process %d: %s", request->verb, request->target,
			 WIFEXITED(status) && WEXITSTATUS(status) == EXIT_DONE ? "done" : "not done");
	}
	close(request->errors);
	request->pid = 0;
}

static void ask_first(struct top *top, const char *verb)
{
	struct top_view *view = &top->view;
	const struct top_row *row = top_selected(view);

	if (!row || top->request.pid)
		return;
	view->pending = verb;
	view->pending_pid = row->pid;
	snprintf(view->question, sizeof(view->question), "swapctl %s of process %d (%s)?", verb, row->pid, row->comm);
}

static void take_answer(struct top *top, int key)
{
	*top->view.question = '\0';
	if (key == 'y' || key == 'Y')
		begin_request(top);
}

static void take_filter(struct top_view *view, int key)
{
	size_t length = strlen(view->filter);

	if (key == '\n' || key == '\r' || key == KEY_ENTER) {
		view->typing = false;
	} else if (key == KEY_ESCAPE) {
		view->typing = false;
		*view->filter = '\0';
	} else if ((key == KEY_BACKSPACE || key == KEY_DELETE || key == '\b') && length) {
		view->filter[length - 1] = '\0';
	} else if (key >= ' ' && key < KEY_DELETE && length + 1 < sizeof(view->filter)) {
		view->filter[length] = (char)key;
		view->filter[length + 1] = '\0';
	}
	view->selected = 0;
}

static void move_selection(struct top_view *view, bool down)
{
	if (down && view->selected + 1 < top_matching(view))
		view->selected++;
	else if (!down && view->selected)
		view->selected--;
}

static void take_command(struct top *top, int key)
{
	struct top_view *view = &top->view;

	if (!top->request.pid)
		*view->message = '\0';
	if (key == 'q')
		top->ending = true;
	else if (key == 's')
		view->sort = (view->sort + 1) % TOP_SORTS;
	else if (key == '/')
		view->typing = true;
	else if (key == KEY_DOWN || key == 'j' || key == KEY_UP || key == 'k')
		move_selection(view, key == KEY_DOWN || key == 'j');
	else if (key == 'o' || key == 'i' || key == 'd')
		ask_first(top, key == 'o' ? "out" : key == 'i' ? "in" : "detach");
	top_sort(&view->sample, view->sort);
}

static void take_key(struct top *top, int key)
{
	if (*top->view.question)
		take_answer(top, key);
	else if (top->view.typing)
		take_filter(&top->view, key);
	else
		take_command(top, key);
}

/* What is selected stays so as rows come and go. */
static int take_sample(struct top *top, struct error *error)
{
	const struct cli_options *options = &top->run->options;
	struct top_view *view = &top->view;
	struct top_sample sample;
	int rc = top_take(&sample, &view->sample, cli_chooses_process(options) ? &options->processes : NULL, error);

	top_free(&view->sample);
	view->sample = sample;
	top_sort(&view->sample, view->sort);
	if (view->selected && view->selected >= top_matching(view))
		view->selected = top_matching(view) ? top_matching(view) - 1 : 0;
	/* A unit that does not run now, or a pidfd whose process has ended. */
	return rc == -ENOMSG || rc == -ESRCH ? 0 : rc;
}

static int loop_until_quit(struct top *top, uint64_t interval_ns, const volatile sig_atomic_t *interrupted,
			   struct error *error)
{
	int rc = take_sample(top, error);

	while (rc >= 0 && !top->ending && !*interrupted) {
		uint64_t age = clock_now_ns() - top->view.sample.time_ns;
		int key;

		end_request(top);
		top_draw(&top->view);
		timeout(age < interval_ns ? (int)min_u64((interval_ns - age) / MS_NS + 1, 250) : 0);
		key = getch();
		if (key != ERR && key != KEY_RESIZE)
			take_key(top, key);
		if (clock_now_ns() - top->view.sample.time_ns >= interval_ns)
			rc = take_sample(top, error);
	}
	return rc;
}

int verb_top(struct run *run)
{
	const struct swapctl_values *values = run_values(run);
	struct top top = {.run = run, .view.sort = values->top_sort};
	const volatile sig_atomic_t *interrupted;
	struct error error = {0};
	SCREEN *screen;
	int rc;

	if (!isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO))
		return cli_usage_error(run->name, "it needs a terminal (see swapctl status)");
	setlocale(LC_CTYPE, "");
	interrupted = interrupt_catch();
	screen = newterm(NULL, stdout, stdin);
	if (!screen)
		return cli_usage_error(run->name, "this terminal cannot be used: see TERM");
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	curs_set(0);
	set_escdelay(25);
	rc = loop_until_quit(&top, values->top_interval_ns, interrupted, &error);
	endwin();
	delscreen(screen);
	top_free(&top.view.sample);
	if (top.request.pid)
		close(top.request.errors);
	return rc < 0 ? run_failed(run, rc, &error) : interrupt_status(EXIT_DONE);
}
