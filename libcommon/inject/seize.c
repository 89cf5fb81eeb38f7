/* Seizing a thread: becoming its tracer. */
#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>

#include "base/size.h"
#include "inject/stop.h"
#include "proc/stat.h"
#include "proc/tracer.h"

#define STOP_MS 50 /* for a thread to stop, before another is tried */
#define LOOKS   4  /* at a thread that nobody traces by the time we look */

int stop_seize(const struct inject *inject, pid_t tid, unsigned long options)
{
	for (unsigned int i = 0; i < LOOKS; i++) {
		struct proc_stat stat;
		pid_t tracer;

		if (ptrace(PTRACE_SEIZE, tid, NULL, options) == 0)
			return 0;
		if (errno != EPERM)
			return -errno;
		if (proc_stat_read(tid, &stat) == -ESRCH || strchr("ZX", stat.state))
			return -ESRCH;
		tracer = tracer_of(inject->target, tid);
		if (tracer)
			return tracer_is_ours(tracer) ? -EALREADY : -EPERM;
	}
	return -EPERM;
}

/* A tracer that may suspend seccomp filters does, which costs less than to ask whether there are any. */
int inject_seize(struct inject *inject, pid_t tid)
{
	uint64_t seccomp = 0;
	int rc = stop_seize(inject, tid, PTRACE_O_TRACESYSGOOD | PTRACE_O_SUSPEND_SECCOMP);

	if (rc < 0 && rc != -EALREADY && rc != -ESRCH) {
		if (target_status(inject->target, "Seccomp", &seccomp) == 0 && seccomp)
			return rc == -EPERM ? -ENOTSUP : rc;
		rc = stop_seize(inject, tid, PTRACE_O_TRACESYSGOOD);
	}
	if (rc < 0)
		return rc;
	if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) < 0)
		return -ESRCH;
	stop_look(inject, tid);
	return stop_wait_interrupted(tid, STOP_MS);
}
