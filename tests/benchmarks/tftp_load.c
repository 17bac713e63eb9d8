/* Many TFTP clients in one process: reads FILE with CLIENTS transfers at a time until TRANSFERS are done.

   tftp_load ADDRESS PORT FILE CLIENTS BLKSIZE WINDOWSIZE TRANSFERS

   Prints octets and seconds. A client by the book: in-order blocks only, one ACK a window, its last ACK
   again after a second of silence. Any error, or a block out of order that stays so, ends it with 1. */

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct client {
    int socket;
    struct sockaddr_in server;
    unsigned expected, in_window, blksize, windowsize;
    int answered;
    double heard, asked;
};

static struct sockaddr_in target;
static char request[600];
static size_t request_length;
static int epoll;
static unsigned long long octets;
static long begun, ended, transfers, repeats;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void fail(const char *what)
{
    fprintf(stderr, "tftp_load: %s\n", what);
    exit(1);
}

static void acknowledge(struct client *c)
{
    unsigned block = c->expected - 1;
    unsigned char ack[4] = {0, 4, block >> 8 & 255, block & 255};
    sendto(c->socket, ack, 4, 0, (struct sockaddr *)&c->server, sizeof c->server);
    c->in_window = 0;
}

static void begin(struct client *c)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    struct sockaddr_in any = {.sin_family = AF_INET};
    int size = 4 << 20;
    memset(c, 0, sizeof *c);
    c->socket = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    setsockopt(c->socket, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (c->socket < 0 || bind(c->socket, (struct sockaddr *)&any, sizeof any) < 0)
        fail("no socket");
    c->expected = 1;
    c->blksize = 512;
    c->windowsize = 1;
    c->heard = now();
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->socket, &event);
    sendto(c->socket, request, request_length, 0, (struct sockaddr *)&target, sizeof target);
    begun++;
}

static void take_options(struct client *c, const char *at, const char *end)
{
    while (at < end) {
        const char *value = at + strlen(at) + 1;
        if (value >= end)
            break;
        if (!strcasecmp(at, "blksize"))
            c->blksize = atoi(value);
        if (!strcasecmp(at, "windowsize"))
            c->windowsize = atoi(value);
        at = value + strlen(value) + 1;
    }
}

static void receive(struct client *c)
{
    static unsigned char packet[70000];
    struct sockaddr_in sender;
    socklen_t length = sizeof sender;
    ssize_t got;
    while ((got = recvfrom(c->socket, packet, sizeof packet - 1, 0, (struct sockaddr *)&sender, &length)) >= 4) {
        unsigned block = packet[2] << 8 | packet[3];
        c->heard = now();
        packet[got] = 0;
        if (!c->answered) {
            c->server = sender;
            c->answered = 1;
        }
        if (sender.sin_port != c->server.sin_port)
            continue;
        if (packet[1] == 5)
            fail((char *)packet + 4);
        if (packet[1] == 6) {
            take_options(c, (char *)packet + 2, (char *)packet + got);
            acknowledge(c);
            continue;
        }
        if (packet[1] != 3)
            fail("neither DATA nor OACK nor ERROR");
        if (block != (c->expected & 0xffff)) {
            repeats++;
            acknowledge(c);
            continue;
        }
        octets += got - 4;
        c->expected++;
        c->in_window++;
        if (got - 4 < c->blksize) {
            acknowledge(c);
            close(c->socket);
            c->socket = -1;
            ended++;
            if (begun < transfers)
                begin(c);
            return;
        }
        if (c->in_window == c->windowsize)
            acknowledge(c);
    }
}

int main(int argc, char **argv)
{
    static struct client clients[5000];
    struct epoll_event events[256];
    double started, checked;
    int many, n, i;
    if (argc != 8)
        fail("ADDRESS PORT FILE CLIENTS BLKSIZE WINDOWSIZE TRANSFERS");
    target.sin_family = AF_INET;
    target.sin_addr.s_addr = inet_addr(argv[1]);
    target.sin_port = htons(atoi(argv[2]));
    many = atoi(argv[4]);
    transfers = atol(argv[7]);
    request_length = 2 + sprintf(request + 2, "%s%coctet%cblksize%c%s%c", argv[3], 0, 0, 0, argv[5], 0);
    request[1] = 1;
    if (atoi(argv[6]) > 1)
        request_length += sprintf(request + request_length, "windowsize%c%s%c", 0, argv[6], 0);
    epoll = epoll_create1(0);
    started = checked = now();
    for (i = 0; i < many && i < 5000; i++)
        begin(&clients[i]);
    while (ended < transfers) {
        n = epoll_wait(epoll, events, 256, 200);
        for (i = 0; i < n; i++)
            receive(events[i].data.ptr);
        if (now() - checked < 0.2)
            continue;
        checked = now();
        for (i = 0; i < many; i++) {
            struct client *c = &clients[i];
            if (c->socket >= 0 && checked - c->heard > 30)
                fail("30 seconds of silence");
            if (c->socket < 0 || checked - c->asked < 1 || checked - c->heard < 1)
                continue;
            c->asked = checked;
            if (c->answered)
                acknowledge(c);
            else
                sendto(c->socket, request, request_length, 0, (struct sockaddr *)&target, sizeof target);
        }
    }
    printf("%llu %.3f %ld\n", octets, now() - started, repeats);
    return 0;
}
