/* What dropbear is built with: keys only, and room for a job's many nodes. */
#define DROPBEAR_SVR_PASSWORD_AUTH 0
#define DROPBEAR_SVR_PAM_AUTH 0
#define DROPBEAR_CLI_PASSWORD_AUTH 0
#define DROPBEAR_CLI_INTERACT_AUTH 0
#define DROPBEAR_SFTPSERVER 0
#define DO_MOTD 0
#define MAX_UNAUTH_PER_IP 1000
#define MAX_UNAUTH_CLIENTS 1000
#define DEFAULT_RECV_WINDOW 1048576
