/* A stand-in for NVIDIA's libnvidia-ml.so.1: what nvidia-ml-py calls for the node health agent.
 *
 * The file $NVML_STAND_IN is read at each call. A line is WHAT GPU NUMBER:
 *   count 0 N      N GPUs, one unless set        init 0 C       opening NVML fails with code C
 *   error N C      GPU N answers with code C     hang 0 1       the driver never answers; crash 0 1: it is worse
 *   ecc N E        E uncorrectable errors        clocks N B     the clocks' event reasons, a bit mask
 *   pending N 1    a row waits for a reset       failed N 1     a row could not be remapped
 *   retiring N 1   a page waits for a reset      process N P    the pid of a process that computes, a line each
 *   memory N M     M MiB are used
 *   xid N X        an event, told once, to those who listened when the line came
 * -1 in place of a number: the card does not support the question. -DWITHOUT_REMAP: an older driver's library.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, INVALID = 2, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7, TIMEOUT = 10 };
enum { GPUS = 16, LINES = 64, XID_EVENT = 8 };

typedef struct { int index; } Gpu;
typedef struct { int gpu, told; } EventSet;
typedef struct { Gpu *device; unsigned long long type, data; unsigned instance[2]; } Event;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } Memory;
typedef struct { unsigned pid; unsigned long long memory; unsigned instance[2]; } Process;

static Gpu gpus[GPUS];
static EventSet sets[GPUS];

/* The numbers of all lines about a thing of a GPU; how many there are. */
static int numbers(const char *what, int gpu, long long found[LINES]) {
  const char *path = getenv("NVML_STAND_IN");
  FILE *file = path ? fopen(path, "r") : NULL;
  char word[32];
  int index, count = 0;
  long long number;
  while (file && count < LINES && fscanf(file, "%31s %d %lld", word, &index, &number) == 3)
    if (index == gpu && !strcmp(word, what)) found[count++] = number;
  if (file) fclose(file);
  return count;
}

/* The last of them; 0 if there is none. */
static long long number(const char *what, int gpu) {
  long long found[LINES];
  int count = numbers(what, gpu, found);
  return count ? found[count - 1] : 0;
}

/* The code that every question to a GPU begins with. */
static int answers(const char *what, int gpu) {
  if (number("error", gpu)) return (int)number("error", gpu);
  return number(what, gpu) < 0 ? NOT_SUPPORTED : OK;
}

int nvmlInitWithFlags(unsigned flags) {
  (void)flags;
  if (number("crash", 0)) abort();
  return (int)number("init", 0);
}

int nvmlShutdown(void) {
  memset(sets, 0, sizeof sets);
  return OK;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
  long long found[LINES];
  while (number("hang", 0)) pause();
  *count = numbers("count", 0, found) ? (unsigned)number("count", 0) : 1;
  return (int)number("init", 0);
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Gpu **device) {
  if (index >= GPUS) return INVALID;
  gpus[index].index = (int)index;
  *device = &gpus[index];
  return answers("handle", (int)index);
}

int nvmlDeviceGetUUID(Gpu *device, char *uuid, unsigned room) {
  snprintf(uuid, room, "GPU-%08d", device->index);
  return OK;
}

int nvmlDeviceGetTotalEccErrors(Gpu *device, unsigned kind, unsigned counter, unsigned long long *errors) {
  if (kind != 1 || counter != 0) return INVALID; /* uncorrected, volatile */
  *errors = (unsigned long long)number("ecc", device->index);
  return answers("ecc", device->index);
}

#ifndef WITHOUT_REMAP
int nvmlDeviceGetRemappedRows(Gpu *device, unsigned *corrected, unsigned *uncorrected, unsigned *pending,
                              unsigned *failed) {
  *corrected = *uncorrected = 0;
  *pending = (unsigned)number("pending", device->index);
  *failed = (unsigned)number("failed", device->index);
  return answers("pending", device->index);
}
#endif

int nvmlDeviceGetRetiredPagesPendingStatus(Gpu *device, unsigned *pending) {
  *pending = (unsigned)number("retiring", device->index);
  return answers("retiring", device->index);
}

int nvmlDeviceGetCurrentClocksEventReasons(Gpu *device, unsigned long long *reasons) {
  *reasons = (unsigned long long)number("clocks", device->index);
  return answers("clocks", device->index);
}

int nvmlDeviceGetComputeRunningProcesses_v3(Gpu *device, unsigned *count, Process *processes) {
  long long pids[LINES];
  unsigned room = *count, found = (unsigned)numbers("process", device->index, pids);
  int code = answers("process", device->index);
  if (code) return code;
  *count = found;
  if (found > room) return INSUFFICIENT_SIZE;
  for (unsigned i = 0; i < found; i++) processes[i] = (Process){.pid = (unsigned)pids[i]};
  return OK;
}

int nvmlDeviceGetMemoryInfo_v2(Gpu *device, Memory *memory) {
  if (memory->version != (sizeof *memory | 2 << 24)) return INVALID;
  memory->used = (unsigned long long)number("memory", device->index) << 20;
  return answers("memory", device->index);
}

int nvmlDeviceGetSupportedEventTypes(Gpu *device, unsigned long long *types) {
  *types = XID_EVENT;
  return answers("xid", device->index);
}

int nvmlEventSetCreate(EventSet **set) {
  for (int i = 0; i < GPUS; i++)
    if (!sets[i].gpu) {
      sets[i].gpu = -1;
      *set = &sets[i];
      return OK;
    }
  return INVALID;
}

int nvmlDeviceRegisterEvents(Gpu *device, unsigned long long types, EventSet *set) {
  long long before[LINES];
  if (types != XID_EVENT) return NOT_SUPPORTED;
  set->gpu = device->index + 1;
  set->told = numbers("xid", device->index, before);
  return OK;
}

int nvmlEventSetWait_v2(EventSet *set, Event *event, unsigned milliseconds) {
  long long xids[LINES];
  int count = numbers("xid", set->gpu - 1, xids);
  (void)milliseconds;
  if (set->told > count) set->told = count;
  if (set->told == count) return TIMEOUT;
  *event = (Event){&gpus[set->gpu - 1], XID_EVENT, (unsigned long long)xids[set->told++], {0, 0}};
  return OK;
}
