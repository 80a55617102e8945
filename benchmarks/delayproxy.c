/* delayproxy LISTEN UPSTREAM MILLISECONDS
 *
 * Takes TCP connections on 127.0.0.1:LISTEN and passes them on to 127.0.0.1:UPSTREAM, every octet MILLISECONDS later, in
 * either direction. The delay is constant, bandwidth is not limited and TCP's handshake is not delayed: a network that is
 * far away, and good. One thread and epoll (Linux 5.11).
 *
 * Since every piece waits equally long, pieces fall due in the order in which they came: one queue holds them all.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

struct half;

struct piece { /* what one read brought; of length 0, the end of the stream */
    struct piece *next;
    int64_t due;
    struct half *to;
    ssize_t length, sent;
    char octets[];
};

struct queue {
    struct piece *first, *last;
};

struct half { /* one of the two sockets of a connection */
    int fd, watched, read_out, written_out;
    struct half *other;
    struct queue unsent; /* due, but the socket would not take them yet */
};

static int poller;
static int64_t delay;
static struct queue waiting;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int64_t now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000LL + at.tv_nsec / 1000;
}

static struct sockaddr_in loopback(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static void put(struct queue *queue, struct piece *piece)
{
    piece->next = NULL;
    if (queue->last)
        queue->last->next = piece;
    else
        queue->first = piece;
    queue->last = piece;
}

static struct piece *pop(struct queue *queue)
{
    struct piece *piece = queue->first;
    queue->first = piece->next;
    if (!queue->first)
        queue->last = NULL;
    return piece;
}

/* Asks for what is of use. A socket of which nothing is wanted is not watched: it would report its end for ever. */
static void watch(struct half *half)
{
    struct epoll_event event = {.data.ptr = half};
    event.events = (half->read_out ? 0 : EPOLLIN) | (half->unsent.first ? EPOLLOUT : 0);
    int wanted = event.events != 0;
    if (wanted || half->watched)
        epoll_ctl(poller, !wanted ? EPOLL_CTL_DEL : half->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, half->fd, &event);
    half->watched = wanted;
}

/* Hands over what is due. Pieces for a socket that is gone are dropped. */
static void give(struct half *half)
{
    while (half->unsent.first) {
        struct piece *piece = half->unsent.first;
        if (piece->length == 0) {
            shutdown(half->fd, SHUT_WR);
            half->written_out = 1;
        } else {
            ssize_t taken = send(half->fd, piece->octets + piece->sent, piece->length - piece->sent,
                                 MSG_NOSIGNAL | MSG_DONTWAIT);
            if (taken < 0 && errno == EAGAIN)
                break;
            piece->sent = taken < 0 ? piece->length : piece->sent + taken;
            if (piece->sent < piece->length)
                continue;
        }
        free(pop(&half->unsent));
    }
    watch(half);
}

static void take(struct half *half)
{
    static char buffer[1 << 16];
    ssize_t length = recv(half->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (length < 0 && errno == EAGAIN)
        return;
    if (length <= 0) {
        length = 0;
        half->read_out = 1;
        watch(half);
    }
    struct piece *piece = calloc(1, sizeof *piece + length);
    piece->due = now() + delay;
    piece->to = half->other;
    piece->length = length;
    memcpy(piece->octets, buffer, length);
    put(&waiting, piece);
}

/* The pair is freed once both streams have come to their end and been passed on. No piece points to it then. */
static void end(struct half *half)
{
    struct half *other = half->other;
    if (!half->written_out || !other->written_out)
        return;
    close(half->fd);
    close(other->fd);
    free(half);
    free(other);
}

static void join(int client, int port)
{
    struct sockaddr_in address = loopback(port);
    int on = 1, server = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(server, (struct sockaddr *)&address, sizeof address)) {
        close(server);
        close(client);
        return;
    }
    struct half *halves[2] = {calloc(1, sizeof(struct half)), calloc(1, sizeof(struct half))};
    halves[0]->fd = client;
    halves[1]->fd = server;
    for (int i = 0; i < 2; i++) {
        halves[i]->other = halves[1 - i];
        setsockopt(halves[i]->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        watch(halves[i]);
    }
}

int main(int count, char **words)
{
    if (count != 4)
        return 2;
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), port = atoi(words[2]);
    struct sockaddr_in address = loopback(atoi(words[1]));
    delay = (int64_t)(atof(words[3]) * 1000);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096))
        fail("listen");
    poller = epoll_create1(0);
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN, .data.ptr = NULL});
    for (;;) {
        struct epoll_event events[64];
        struct timespec pause, *wait = NULL;
        if (waiting.first) {
            int64_t left = waiting.first->due - now();
            left = left < 0 ? 0 : left;
            pause = (struct timespec){left / 1000000, left % 1000000 * 1000};
            wait = &pause;
        }
        int ready = epoll_pwait2(poller, events, 64, wait, NULL);
        for (int i = 0; i < ready; i++) {
            struct half *half = events[i].data.ptr;
            if (!half) {
                int client = accept(listener, NULL, NULL);
                if (client >= 0)
                    join(client, port);
                continue;
            }
            if (events[i].events & EPOLLOUT)
                give(half);
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !half->read_out)
                take(half);
        }
        while (waiting.first && waiting.first->due <= now()) {
            struct piece *piece = pop(&waiting);
            struct half *to = piece->to;
            put(&to->unsent, piece);
            give(to);
            end(to);
        }
    }
}
