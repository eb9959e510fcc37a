/*
 * The client of `deno task bench`: cheap enough that the daemon is the bottleneck, not the client. Speaks to a Unix socket in
 * whole frames that are given as hex, and checks every byte that comes back. support/client.ts does the same without a compiler.
 *
 *   client call SOCKET REQUEST ANSWER COUNT            a connection per call, one call after another
 *   client kept SOCKET REQUEST ANSWER COUNT WINDOW     one connection, up to WINDOW calls under way
 *   client fan  SOCKET REQUEST ACCEPTED MESSAGE COUNT WINDOW SUBSCRIBERS PORT CONNECT PUBLISH
 *                                                      subscribes, feeds a broker by MQTT, counts what comes
 *   client read SOCKET REQUEST ACCEPTED LENGTH AT COUNT SUBSCRIBERS STOPPED
 *                                                      subscribes; SUBSCRIBERS read COUNT frames of LENGTH bytes that hold their
 *                                                      number in 8 digits at AT, in order; STOPPED more never read, and have to
 *                                                      be closed. Prints "ready" when all have subscribed, and a number per call
 *                                                      for each STOPPED: how many ns after the start it was closed
 *
 * Waits for a byte on stdin. Prints "START END\n" (ns since the Unix epoch), then a uint32 (ns) per call. Exit 1 on any surprise.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define TIMEOUT_S 20
#define BLOCK 64 /* requests or messages that are written at once */
#define MAX_WINDOW 65536

typedef struct {
    uint8_t *at;
    size_t length;
} Bytes;

static void fail(const char *what) {
    fprintf(stderr, "bench client: %s (%s)\n", what, errno ? strerror(errno) : "no errno");
    exit(1);
}

static uint64_t now_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static Bytes from_hex(const char *hex) {
    Bytes bytes = {malloc(strlen(hex) / 2 + 1), strlen(hex) / 2};
    for (size_t i = 0; i < bytes.length; i++) {
        unsigned value;
        if (sscanf(hex + 2 * i, "%2x", &value) != 1) fail("an argument is not hex");
        bytes.at[i] = (uint8_t)value;
    }
    return bytes;
}

/* So many copies one after the other, so that many go out in one write. */
static Bytes repeated(Bytes one, size_t times) {
    Bytes bytes = {malloc(one.length * times), one.length * times};
    for (size_t i = 0; i < times; i++) memcpy(bytes.at + i * one.length, one.at, one.length);
    return bytes;
}

static void be_patient(int fd) {
    struct timeval timeout = {.tv_sec = TIMEOUT_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
}

static int connect_unix(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) fail("the socket's path is too long");
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0) fail("socket");
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) fail("connect");
    be_patient(fd);
    return fd;
}

static int connect_tcp(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int yes = 1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) fail("broker");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    be_patient(fd);
    return fd;
}

static void write_all(int fd, const uint8_t *at, size_t length) {
    while (length > 0) {
        ssize_t count = write(fd, at, length);
        if (count <= 0) fail("write");
        at += count;
        length -= (size_t)count;
    }
}

static void expect(int fd, Bytes wanted) {
    uint8_t got[4096];
    for (size_t at = 0; at < wanted.length;) {
        size_t most = wanted.length - at < sizeof got ? wanted.length - at : sizeof got;
        ssize_t count = read(fd, got, most);
        if (count <= 0) fail("the answer is cut off or late");
        if (memcmp(got, wanted.at + at, (size_t)count) != 0) fail("another answer came than expected");
        at += (size_t)count;
    }
}

static void wait_for_start(void) {
    char byte;
    if (read(0, &byte, 1) != 1) fail("no start on stdin");
}

static void print_result(uint64_t start, uint64_t end, const uint32_t *ns, size_t count) {
    printf("%llu %llu\n", (unsigned long long)start, (unsigned long long)end);
    if (count > 0 && fwrite(ns, sizeof *ns, count, stdout) != count) fail("stdout");
    fflush(stdout);
}

static void call(const char *path, Bytes request, Bytes answer, size_t count) {
    uint32_t *ns = malloc(count * sizeof *ns);
    wait_for_start();
    uint64_t start = now_ns(CLOCK_REALTIME);
    for (size_t i = 0; i < count; i++) {
        uint64_t from = now_ns(CLOCK_MONOTONIC);
        int fd = connect_unix(path);
        write_all(fd, request.at, request.length);
        expect(fd, answer);
        close(fd);
        ns[i] = (uint32_t)(now_ns(CLOCK_MONOTONIC) - from);
    }
    print_result(start, now_ns(CLOCK_REALTIME), ns, count);
}

static void kept(const char *path, Bytes request, Bytes answer, size_t count, size_t window) {
    static uint64_t sent_at[MAX_WINDOW];
    static uint8_t buffer[65536];
    if (window > MAX_WINDOW) fail("the window is too large");
    uint32_t *ns = malloc(count * sizeof *ns);
    Bytes block = repeated(request, BLOCK);
    int fd = connect_unix(path);
    wait_for_start();
    uint64_t start = now_ns(CLOCK_REALTIME);
    size_t sent = 0, answered = 0, at = 0;
    while (answered < count) {
        /* Topped up when half of it is free: one write for many, as a client with much to say does. */
        size_t room = window - (sent - answered);
        if (sent < count && room > window / 2) {
            size_t many = room < BLOCK ? room : BLOCK;
            if (many > count - sent) many = count - sent;
            uint64_t now = now_ns(CLOCK_MONOTONIC);
            write_all(fd, block.at, many * request.length);
            for (size_t i = 0; i < many; i++) sent_at[(sent + i) % MAX_WINDOW] = now;
            sent += many;
            continue;
        }
        ssize_t got = read(fd, buffer, sizeof buffer);
        if (got <= 0) fail("the answer is cut off or late");
        uint64_t now = now_ns(CLOCK_MONOTONIC);
        for (ssize_t i = 0; i < got; i++) {
            if (buffer[i] != answer.at[at]) fail("another answer came than expected");
            if (++at < answer.length) continue;
            at = 0;
            if (answered == sent) fail("more answers came than requests were sent");
            ns[answered] = (uint32_t)(now - sent_at[answered % MAX_WINDOW]);
            answered++;
        }
    }
    print_result(start, now_ns(CLOCK_REALTIME), ns, count);
}

/* The broker by MQTT 3.1.1, unencrypted: the feeder is to cost as little as can be. */
static int connect_broker(int port, Bytes connect_packet) {
    uint8_t connack[] = {0x20, 0x02, 0x00, 0x00};
    int fd = connect_tcp(port);
    write_all(fd, connect_packet.at, connect_packet.length);
    expect(fd, (Bytes){connack, sizeof connack});
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0) fail("fcntl");
    return fd;
}

/* Takes in what a subscriber got; whether anything may be left. */
static int take(int fd, Bytes message, uint64_t *bytes) {
    static uint8_t buffer[65536];
    ssize_t got = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return 0;
    if (got <= 0) fail("a subscription ended");
    for (ssize_t done = 0; done < got;) {
        size_t at = (size_t)((*bytes + (uint64_t)done) % message.length);
        size_t part = message.length - at;
        if (part > (size_t)(got - done)) part = (size_t)(got - done);
        if (memcmp(buffer + done, message.at + at, part) != 0) fail("another message came than sent");
        done += (ssize_t)part;
    }
    *bytes += (uint64_t)got;
    return (size_t)got == sizeof buffer;
}

static void fan(const char *path, Bytes request, Bytes accepted, Bytes message, uint64_t count,
                uint64_t window, int subscribers, int port, Bytes connect_packet, Bytes publish) {
    int *fds = malloc((size_t)subscribers * sizeof *fds);
    uint64_t *bytes = calloc((size_t)subscribers, sizeof *bytes);
    int poll = epoll_create1(0);
    for (int i = 0; i < subscribers; i++) {
        fds[i] = connect_unix(path);
        write_all(fds[i], request.at, request.length);
        expect(fds[i], accepted);
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        if (epoll_ctl(poll, EPOLL_CTL_ADD, fds[i], &event) < 0) fail("epoll_ctl");
    }
    int feeder = connect_broker(port, connect_packet);
    Bytes block = repeated(publish, BLOCK);
    uint64_t fed = 0, got = 0, total = count * publish.length;
    wait_for_start();
    uint64_t start = now_ns(CLOCK_REALTIME);
    while (got < count) {
        uint64_t allowed = (got + window) * publish.length;
        if (allowed > total) allowed = total;
        int blocked = 0;
        /* A new burst when half of the window is free, as with `kept`. */
        if (fed == 0 || allowed - fed > window * publish.length / 2 || allowed == total) {
            while (fed < allowed && !blocked) {
                size_t at = (size_t)(fed % block.length);
                size_t part = block.length - at;
                if (part > allowed - fed) part = (size_t)(allowed - fed);
                ssize_t wrote = write(feeder, block.at + at, part);
                if (wrote < 0 && errno != EAGAIN) fail("feeding the broker");
                if (wrote < 0) blocked = 1;
                else fed += (uint64_t)wrote;
            }
        }
        struct epoll_event events[64];
        int ready = epoll_wait(poll, events, 64, blocked ? 1 : TIMEOUT_S * 1000);
        if (ready < 0) fail("epoll_wait");
        if (ready == 0 && !blocked) fail("messages are missing");
        for (int i = 0; i < ready; i++) {
            uint32_t who = events[i].data.u32;
            while (take(fds[who], message, &bytes[who])) {}
        }
        uint64_t least = UINT64_MAX;
        for (int i = 0; i < subscribers; i++) {
            uint64_t whole = bytes[i] / message.length;
            if (whole > count) fail("more messages came than were sent");
            if (whole < least) least = whole;
        }
        got = least;
    }
    print_result(start, now_ns(CLOCK_REALTIME), NULL, 0);
}

/* A subscriber that reads: the frame that came in part, and the number that comes next. */
typedef struct {
    int fd;
    size_t have;
    uint64_t next;
    uint8_t frame[1024];
} Reader;

static void frame_came(Reader *reader, const uint8_t *frame, size_t at) {
    uint64_t number = 0;
    for (size_t i = 0; i < 8; i++) number = number * 10 + (uint64_t)(frame[at + i] - '0');
    if (number != reader->next) {
        fprintf(stderr, "message %llu came, not %llu\n", (unsigned long long)number,
                (unsigned long long)reader->next);
        fail("a message is missing, repeated or out of order");
    }
    reader->next++;
}

/* Takes in what is there; whether anything may be left. */
static int read_frames(Reader *reader, size_t length, size_t at) {
    static uint8_t buffer[262144];
    ssize_t got = recv(reader->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return 0;
    if (got <= 0) {
        fprintf(stderr, "after %llu messages: ", (unsigned long long)reader->next);
        fail("a subscription ended");
    }
    for (size_t done = 0; done < (size_t)got;) {
        size_t left = (size_t)got - done;
        if (reader->have == 0 && left >= length) {
            frame_came(reader, buffer + done, at);
            done += length;
            continue;
        }
        size_t part = length - reader->have < left ? length - reader->have : left;
        memcpy(reader->frame + reader->have, buffer + done, part);
        reader->have += part;
        done += part;
        if (reader->have < length) continue;
        reader->have = 0;
        frame_came(reader, reader->frame, at);
    }
    return (size_t)got == sizeof buffer;
}

static void read_all(const char *path, Bytes request, Bytes accepted, size_t length, size_t at,
                     uint64_t count, int subscribers, int stopped) {
    int all = subscribers + stopped;
    Reader *readers = calloc((size_t)all, sizeof *readers);
    uint32_t *closed_ns = calloc((size_t)stopped + 1, sizeof *closed_ns);
    if (length > sizeof readers->frame) fail("a frame is too long");
    int poll = epoll_create1(0);
    for (int i = 0; i < all; i++) {
        readers[i].fd = connect_unix(path);
        write_all(readers[i].fd, request.at, request.length);
        expect(readers[i].fd, accepted);
        struct epoll_event event = {.events = i < subscribers ? EPOLLIN : EPOLLRDHUP,
                                    .data.u32 = (uint32_t)i};
        if (epoll_ctl(poll, EPOLL_CTL_ADD, readers[i].fd, &event) < 0) fail("epoll_ctl");
    }
    printf("ready\n");
    fflush(stdout);
    wait_for_start();
    uint64_t start = now_ns(CLOCK_REALTIME);
    uint64_t end = start;
    for (int unfinished = subscribers, open = stopped; unfinished > 0 || open > 0;) {
        struct epoll_event events[64];
        int ready = epoll_wait(poll, events, 64, TIMEOUT_S * 1000);
        if (ready <= 0) fail(unfinished > 0 ? "messages are missing" : "who stopped is not closed");
        for (int i = 0; i < ready; i++) {
            Reader *reader = &readers[events[i].data.u32];
            if ((int)events[i].data.u32 >= subscribers) {
                uint64_t ns = now_ns(CLOCK_REALTIME) - start;
                closed_ns[(int)events[i].data.u32 - subscribers] =
                    ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
                epoll_ctl(poll, EPOLL_CTL_DEL, reader->fd, NULL);
                open--;
                continue;
            }
            uint64_t before = reader->next;
            while (read_frames(reader, length, at)) {}
            if (reader->next > count) fail("more messages came than were sent");
            if (before < count && reader->next == count) {
                unfinished--;
                end = now_ns(CLOCK_REALTIME);
            }
        }
    }
    print_result(start, end, closed_ns, (size_t)stopped);
}

int main(int argc, char **argv) {
    if (argc == 6 && strcmp(argv[1], "call") == 0) {
        call(argv[2], from_hex(argv[3]), from_hex(argv[4]), strtoull(argv[5], NULL, 10));
    } else if (argc == 7 && strcmp(argv[1], "kept") == 0) {
        kept(argv[2], from_hex(argv[3]), from_hex(argv[4]), strtoull(argv[5], NULL, 10),
             strtoull(argv[6], NULL, 10));
    } else if (argc == 12 && strcmp(argv[1], "fan") == 0) {
        fan(argv[2], from_hex(argv[3]), from_hex(argv[4]), from_hex(argv[5]),
            strtoull(argv[6], NULL, 10), strtoull(argv[7], NULL, 10), atoi(argv[8]), atoi(argv[9]),
            from_hex(argv[10]), from_hex(argv[11]));
    } else if (argc == 10 && strcmp(argv[1], "read") == 0) {
        read_all(argv[2], from_hex(argv[3]), from_hex(argv[4]), strtoull(argv[5], NULL, 10),
                 strtoull(argv[6], NULL, 10), strtoull(argv[7], NULL, 10), atoi(argv[8]),
                 atoi(argv[9]));
    } else {
        fputs("usage: see the top of client.c\n", stderr);
        return 2;
    }
    return 0;
}
