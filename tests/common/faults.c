/*
 * faults [--hang] PATH PROGRAM [ARGUMENT...]: runs a program, and fails system calls of its that touch what is at
 * or below PATH; with --hang none of them ever returns, once the file PATH.hang is there.
 *
 * All of them are seen, whatever makes them: the kernel passes each to this program before it runs it
 * (seccomp_unotify(2)). Which one fails, and how, the program says by opening files that are not there:
 *
 *   /larder-faults/arm/ERRNO/FIRST/COUNT   fail COUNT calls from the FIRSTth on, counted from now
 *   /larder-faults/hit                     gives EEXIST when one was failed since, else ENOENT
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONTROL "/larder-faults/"

/* Where a call says what it touches: the numbers of its arguments, or -1. */
static const struct call { int number, folder, path, fd; } calls[] = {
#ifdef SYS_open
    {SYS_open, -1, 0, -1}, {SYS_stat, -1, 0, -1}, {SYS_lstat, -1, 0, -1}, {SYS_readlink, -1, 0, -1},
#endif
    {SYS_openat, 0, 1, -1}, {SYS_openat2, 0, 1, -1}, {SYS_newfstatat, 0, 1, -1}, {SYS_statx, 0, 1, -1},
    {SYS_readlinkat, 0, 1, -1}, {SYS_fstat, -1, -1, 0}, {SYS_read, -1, -1, 0}, {SYS_pread64, -1, -1, 0},
    {SYS_getdents64, -1, -1, 0}, {SYS_mmap, -1, -1, 4},
};
enum { CALLS = sizeof calls / sizeof *calls };

static void fail(const char *what) {
    perror(what);
    exit(99);
}

static int listen_to_calls(void) {
    struct sock_filter filter[CALLS + 3];
    int at = 0;
    filter[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < CALLS; i++)
        filter[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i].number, CALLS - i, 0);
    filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
    struct sock_fprog program = {at, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) fail("no_new_privs");
    int fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    if (fd < 0) fail("seccomp");
    return fd;
}

static void pass_on(int socket, int fd) {
    char room[CMSG_SPACE(sizeof fd)] = {0}, byte = 0;
    struct iovec one = {&byte, 1};
    struct msghdr message = {.msg_iov = &one, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    *header = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    if (sendmsg(socket, &message, 0) != 1) fail("sendmsg");
}

static int take_over(int socket) {
    char room[CMSG_SPACE(sizeof(int))] = {0}, byte;
    struct iovec one = {&byte, 1};
    struct msghdr message = {.msg_iov = &one, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    if (recvmsg(socket, &message, 0) != 1 || !CMSG_FIRSTHDR(&message)) fail("recvmsg");
    int fd;
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    return fd;
}

static void path_of_fd(int pid, int fd, char *path, size_t size) {
    char link[64];
    if (fd == AT_FDCWD) snprintf(link, sizeof link, "/proc/%d/cwd", pid);
    else snprintf(link, sizeof link, "/proc/%d/fd/%d", pid, fd);
    ssize_t length = readlink(link, path, size - 1);
    path[length < 0 ? 0 : length] = 0;
}

/* What a call touches, as a path. */
static void path_of(const struct seccomp_notif *call, char *path, size_t size) {
    const struct call *known = calls;
    while (known->number != call->data.nr) known++;
    path[0] = 0;
    if (known->fd >= 0) {
        path_of_fd(call->pid, call->data.args[known->fd], path, size);
        return;
    }
    char name[4096] = "", memory[64];
    snprintf(memory, sizeof memory, "/proc/%d/mem", call->pid);
    int fd = open(memory, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    ssize_t length = pread(fd, name, sizeof name - 1, call->data.args[known->path]);
    /* What lies behind the name may not be mapped. */
    for (size_t part = 64; length < 0 && part; part /= 2)
        length = pread(fd, name, part, call->data.args[known->path]);
    close(fd);
    name[length < 0 ? 0 : length] = 0;
    if (name[0] == '/' || known->folder < 0) {
        snprintf(path, size, "%s", name);
        return;
    }
    path_of_fd(call->pid, call->data.args[known->folder], path, size);
    size_t used = strlen(path);
    if (name[0]) snprintf(path + used, size - used, "/%s", name);
}

static pid_t child;

static void terminate(int number) {
    kill(child, number);
}

int main(int count, char **arguments) {
    int sockets[2];
    int hang = count > 1 && !strcmp(arguments[1], "--hang");
    arguments += hang;
    count -= hang;
    if (count < 3 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets)) fail("usage");
    child = fork();
    if (child < 0) fail("fork");
    if (!child) {
        prctl(PR_SET_PDEATHSIG, 9);
        int fd = listen_to_calls();
        pass_on(sockets[1], fd);
        close(fd);
        execvp(arguments[2], arguments + 2);
        fail("exec");
    }
    signal(SIGTERM, terminate);
    close(sockets[1]);
    int listener = take_over(sockets[0]);
    size_t prefix = strlen(arguments[1]);
    char trigger[4096];
    snprintf(trigger, sizeof trigger, "%s.hang", arguments[1]);
    long error = 0, first = 0, many = 0, seen = 0, hit = 0;
    for (;;) {
        struct pollfd ready = {listener, POLLIN, 0};
        if (poll(&ready, 1, -1) < 0) {
            if (errno == EINTR) continue;
            break;
        }
        if (!(ready.revents & POLLIN)) break;
        struct seccomp_notif call = {0};
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call)) continue;
        struct seccomp_notif_resp answer = {.id = call.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
        static char path[8192];
        path_of(&call, path, sizeof path);
        if (!strncmp(path, CONTROL, strlen(CONTROL))) {
            int known = sscanf(path, CONTROL "arm/%ld/%ld/%ld", &error, &first, &many) == 3;
            answer.flags = 0;
            answer.error = !known && hit ? -EEXIST : -ENOENT;
            if (known) seen = hit = 0;
        } else if (hang && !strncmp(path, arguments[1], prefix) && !access(trigger, F_OK)) {
            continue;
        } else if (error && !strncmp(path, arguments[1], prefix)) {
            seen++;
            if (seen >= first && seen - first < many) {
                hit = 1;
                answer.flags = 0;
                answer.error = -error;
            }
        }
        ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
    int status;
    if (waitpid(child, &status, 0) != child) fail("waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}
