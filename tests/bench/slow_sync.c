/* Preloaded: each fsync and fdatasync takes SLOW_SYNC_MS more, as on an SD card, and is counted in the file SLOW_SYNC_COUNT. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static int slowly(const char *name, int fd) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  const char *text = getenv("SLOW_SYNC_MS");
  long ms = text ? atol(text) : 0;
  const char *path = getenv("SLOW_SYNC_COUNT");
  if (path) {
    int count = open(path, O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (count >= 0) {
      if (write(count, "s", 1) < 0) _exit(99);
      close(count);
    }
  }
  if (ms > 0) {
    struct timespec pause = {ms / 1000, (ms % 1000) * 1000000L};
    nanosleep(&pause, NULL);
  }
  return real(fd);
}

int fsync(int fd) { return slowly("fsync", fd); }
int fdatasync(int fd) { return slowly("fdatasync", fd); }
