/*
 * Linked into dropbear instead of the C library's account functions: whoever runs the server may log in, and nobody
 * else. So a job's image needs no /etc/passwd entry, no home directory and no /etc/shells for ssh between the nodes.
 *
 * BATCHAI_SSH_HOME: where .ssh/authorized_keys lies. BATCHAI_SSH_SHELL: the program that runs the sessions' commands.
 */
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

static int shells_read;

static char *setting(const char *name) {
	char *value = getenv(name);
	return value ? value : "/";
}

struct passwd *__wrap_getpwnam(const char *name) {
	static struct passwd account;
	account.pw_name = (char *)name;
	account.pw_passwd = "!";
	account.pw_uid = getuid();
	account.pw_gid = getgid();
	account.pw_gecos = "";
	account.pw_dir = setting("BATCHAI_SSH_HOME");
	account.pw_shell = setting("BATCHAI_SSH_SHELL");
	return &account;
}

struct passwd *__wrap_getpwuid(uid_t user) {
	(void)user;
	return __wrap_getpwnam("batchai");
}

/* The groups of the container stay as they are. */
int __wrap_initgroups(const char *name, gid_t group) {
	(void)name;
	(void)group;
	return 0;
}

void __wrap_setusershell(void) {
	shells_read = 0;
}

char *__wrap_getusershell(void) {
	return shells_read++ ? NULL : setting("BATCHAI_SSH_SHELL");
}
