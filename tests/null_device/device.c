// The null device: a CUDA runtime and driver without a GPU. Device memory is reserved host memory, copies are memcpy,
// kernels do nothing, but are counted by name. Preloaded, it lets torch's CUDA build run all of its host code.
#define _GNU_SOURCE
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#define EXPORT __attribute__((visibility("default")))
#undef cudaGetDeviceProperties

enum { LAUNCH, H2D, D2H, D2D, H2D_BYTES, D2H_BYTES, D2D_BYTES, SYNC, MALLOC, FREE, EVENT_RECORD, CUDNN, CUBLAS, NCCL, MEMSET, PINNED, H2D_PAGEABLE, BN, LINALG, GRAPHS, COUNTERS };
static long counters[COUNTERS];
EXPORT long null_get(int which) { return counters[which]; }
EXPORT void null_add(int which, long n) { __atomic_fetch_add(&counters[which], n, __ATOMIC_RELAXED); }
#define ADD(w, n) null_add(w, n)

static long total; // bytes of each device
EXPORT void null_set_mb(long mb) { total = mb << 20; }
static long total_bytes(void) { if (!total) { const char* e = getenv("NULL_DEVICE_MB"); total = (e ? atol(e) : 81079L) << 20; } return total; }
static int device_count(void) { static int v = -1; if (v < 0) { const char* e = getenv("NULL_DEVICE_COUNT"); v = e ? atoi(e) : 1; const char* c = getenv("CUDA_VISIBLE_DEVICES"); if (c) { int n = *c ? 1 : 0; for (const char* p = c; *p; p++) n += *p == ','; if (n < v) v = n; } } return v; }
static long copy_limit(void) { static long v; if (!v) { const char* e = getenv("NULL_DEVICE_COPY_MB"); v = (e ? atol(e) : 16L) << 20; } return v; }
static __thread int current;
static long used[16]; static long touched[16];
EXPORT long null_touched(int device) { return touched[device]; }
#define TOUCH() __atomic_fetch_add(&touched[current & 15], 1, __ATOMIC_RELAXED)

// ---- a timeline: each kernel takes NULL_DEVICE_KERNEL_US; what waits for the device sleeps
static double now_ms(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return 1e3 * t.tv_sec + 1e-6 * t.tv_nsec; }
static double kernel_ms(void) { static double v = -1; if (v < 0) { const char* e = getenv("NULL_DEVICE_KERNEL_US"); v = e ? atof(e) / 1e3 : 0; } return v; }
static double busy;
static void worked(double kernels) { double k = kernel_ms(); if (!k) return; double n = now_ms(); busy = (busy > n ? busy : n) + kernels * k; }
static double waited_ms;
EXPORT double null_waited_ms(void) { return waited_ms; }
static void wait_until(double at) { double left = at - now_ms(); if (left > 0) { waited_ms += left; struct timespec t = {(long)(left / 1e3), (long)(1e6 * (left - 1e3 * (long)(left / 1e3)))}; nanosleep(&t, 0); } }
// ---- kernels by name
#define SLOTS (1 << 18)
static const void* keys[SLOTS]; static const char* names[SLOTS]; static long calls[SLOTS];
static unsigned slot(const void* key, int make) {
  uint64_t h = (uint64_t)key * 0x9E3779B97F4A7C15ull; unsigned i = h >> 46;
  while (keys[i] && keys[i] != key) i = (i + 1) & (SLOTS - 1);
  if (!keys[i] && make) keys[i] = key;
  return i;
}
EXPORT void** __cudaRegisterFatBinary(void* f) { static void* h[1]; return h; }
EXPORT void __cudaRegisterFatBinaryEnd(void** h) {}
EXPORT void __cudaUnregisterFatBinary(void** h) {}
EXPORT char __cudaInitModule(void** h) { return 1; }
EXPORT void __cudaRegisterFunction(void** h, const char* host, char* dev, const char* name, int l, uint3* a, uint3* b, dim3* c, dim3* d, int* w) { names[slot(host, 1)] = name; }
EXPORT void __cudaRegisterVar(void** h, char* host, char* dev, const char* name, int e, size_t s, int c, int g) {}
static __thread struct { dim3 g, b; size_t s; void* st; } conf;
EXPORT unsigned __cudaPushCallConfiguration(dim3 g, dim3 b, size_t s, struct CUstream_st* st) { conf.g = g; conf.b = b; conf.s = s; conf.st = st; return 0; }
EXPORT cudaError_t __cudaPopCallConfiguration(dim3* g, dim3* b, size_t* s, void* st) { *g = conf.g; *b = conf.b; *s = conf.s; *(void**)st = conf.st; return 0; }
EXPORT cudaError_t __cudaGetKernel(cudaKernel_t* k, const void* f) { *k = (cudaKernel_t)f; return 0; }
// A stream that is captured only notes its kernels; a graph is their number, and launching it takes their time.
static cudaStream_t capturing; static long captured; static int any_capture;
static int noted(void) { if (!any_capture) return 0; captured++; return 1; }
static cudaError_t launched(const void* f) { TOUCH(); if (noted()) return 0; ADD(LAUNCH, 1); worked(1); __atomic_fetch_add(&calls[slot(f, 1)], 1, __ATOMIC_RELAXED); return 0; }
EXPORT cudaError_t __cudaLaunchKernel(cudaKernel_t k, dim3 g, dim3 b, void** a, size_t s, cudaStream_t st) { return launched((const void*)k); }
EXPORT cudaError_t __cudaLaunchKernel_ptsz(cudaKernel_t k, dim3 g, dim3 b, void** a, size_t s, cudaStream_t st) { return launched((const void*)k); }
EXPORT cudaError_t cudaLaunchKernel(const void* f, dim3 g, dim3 b, void** a, size_t s, cudaStream_t st) { return launched(f); }
EXPORT cudaError_t cudaLaunchCooperativeKernel(const void* f, dim3 g, dim3 b, void** a, size_t s, cudaStream_t st) { return launched(f); }
EXPORT cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* c, const void* f, void** a) { return launched(f); }
EXPORT cudaError_t cudaLaunchHostFunc(cudaStream_t s, cudaHostFn_t f, void* d) { f(d); return 0; }
EXPORT cudaError_t cudaStreamAddCallback(cudaStream_t s, cudaStreamCallback_t f, void* d, unsigned x) { f(s, 0, d); return 0; }
EXPORT void null_reset(void) { memset(counters, 0, sizeof counters); memset(calls, 0, sizeof calls); }
EXPORT void null_dump(const char* path) {
  FILE* f = fopen(path, "w"); if (!f) return;
  for (unsigned i = 0; i < SLOTS; i++) if (calls[i]) fprintf(f, "%ld\t%s\n", calls[i], names[i] ? names[i] : "?");
  fclose(f);
}
EXPORT void null_named(const char* name) { // a library call, counted like a kernel
  TOUCH(); if (noted()) return;
  ADD(LAUNCH, 1); worked(1); unsigned i = slot(name, 1); names[i] = name; __atomic_fetch_add(&calls[i], 1, __ATOMIC_RELAXED);
}

// ---- devices
EXPORT cudaError_t cudaGetDeviceCount(int* n) { *n = device_count(); return *n ? 0 : cudaErrorNoDevice; }
EXPORT cudaError_t cudaGetDevice(int* d) { *d = current; return 0; }
EXPORT cudaError_t cudaSetDevice(int d) { if (d < 0 || d >= device_count()) return cudaErrorInvalidDevice; current = d; return 0; }
EXPORT cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp* p, int d) {
  if (d < 0 || d >= device_count()) return cudaErrorInvalidDevice;
  memset(p, 0, sizeof *p); strcpy(p->name, "NVIDIA H100 80GB HBM3"); p->uuid.bytes[0] = d + 1;
  p->totalGlobalMem = total_bytes(); p->sharedMemPerBlock = 49152; p->regsPerBlock = 65536; p->warpSize = 32;
  p->memPitch = 2147483647; p->maxThreadsPerBlock = 1024; p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024; p->maxThreadsDim[2] = 64;
  p->maxGridSize[0] = 2147483647; p->maxGridSize[1] = p->maxGridSize[2] = 65535; p->totalConstMem = 65536; p->major = 9; p->minor = 0;
  p->textureAlignment = 512; p->multiProcessorCount = 132; p->canMapHostMemory = 1; p->concurrentKernels = 1; p->ECCEnabled = 1;
  p->pciBusID = 1 + d; p->asyncEngineCount = 3; p->unifiedAddressing = 1; p->memoryBusWidth = 5120; p->l2CacheSize = 50 << 20;
  p->maxThreadsPerMultiProcessor = 2048; p->streamPrioritiesSupported = 1; p->sharedMemPerMultiprocessor = 233472; p->regsPerMultiprocessor = 65536;
  p->managedMemory = 1; p->cooperativeLaunch = 1; p->sharedMemPerBlockOptin = 232448; p->maxBlocksPerMultiProcessor = 32; p->clusterLaunch = 1;
  p->memoryPoolsSupported = 1; p->hostRegisterSupported = 1; p->canUseHostPointerForRegisteredMem = 1;
  return 0;
}
EXPORT cudaError_t cudaDeviceGetAttribute(int* v, enum cudaDeviceAttr a, int d) {
  switch ((int)a) {
    case cudaDevAttrMaxThreadsPerBlock: *v = 1024; break;
    case cudaDevAttrMaxBlockDimX: case cudaDevAttrMaxBlockDimY: *v = 1024; break;
    case cudaDevAttrMaxBlockDimZ: *v = 64; break;
    case cudaDevAttrMaxGridDimX: *v = 2147483647; break;
    case cudaDevAttrMaxGridDimY: case cudaDevAttrMaxGridDimZ: *v = 65535; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *v = 49152; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *v = 232448; break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *v = 233472; break;
    case cudaDevAttrWarpSize: *v = 32; break;
    case cudaDevAttrMultiProcessorCount: *v = 132; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *v = 2048; break;
    case cudaDevAttrComputeCapabilityMajor: *v = 9; break;
    case cudaDevAttrComputeCapabilityMinor: *v = 0; break;
    case cudaDevAttrMaxRegistersPerBlock: case cudaDevAttrMaxRegistersPerMultiprocessor: *v = 65536; break;
    case cudaDevAttrL2CacheSize: *v = 50 << 20; break;
    case cudaDevAttrUnifiedAddressing: case cudaDevAttrCooperativeLaunch: case cudaDevAttrMemoryPoolsSupported: *v = 1; break;
    default: *v = 1;
  }
  return 0;
}
EXPORT cudaError_t cudaDeviceCanAccessPeer(int* v, int a, int b) { *v = 1; return 0; }
EXPORT cudaError_t cudaDeviceGetStreamPriorityRange(int* l, int* g) { *l = 0; *g = -5; return 0; }
EXPORT cudaError_t cudaDeviceGetPCIBusId(char* s, int n, int d) { snprintf(s, n, "0000:%02x:00.0", d + 1); return 0; }
EXPORT cudaError_t cudaDriverGetVersion(int* v) { *v = 13000; return 0; }
EXPORT cudaError_t cudaRuntimeGetVersion(int* v) { *v = 13000; return 0; }
EXPORT cudaError_t cudaGetLastError(void) { return 0; }
EXPORT cudaError_t cudaPeekAtLastError(void) { return 0; }
EXPORT const char* cudaGetErrorString(cudaError_t e) { return e == 2 ? "out of memory" : e == 100 ? "no device" : "error of the null device"; }
EXPORT const char* cudaGetErrorName(cudaError_t e) { return "nullDeviceError"; }

// ---- memory
typedef struct { char* at; size_t size; int device; } Range;
static Range ranges[1 << 16]; static int nranges; static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Range* find(const void* p) { for (int i = 0; i < nranges; i++) if ((char*)p >= ranges[i].at && (char*)p < ranges[i].at + ranges[i].size) return ranges + i; return 0; }
static cudaError_t reserve(void** p, size_t n, int device) {
  if (device >= 0 && used[device] + (long)n > total_bytes() - (500L << 20)) return cudaErrorMemoryAllocation;
  size_t whole = (n + 4095) & ~4095ul; if (!whole) whole = 4096;
  void* m = mmap(0, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (m == MAP_FAILED) return cudaErrorMemoryAllocation;
  pthread_mutex_lock(&lock);
  if (nranges == 1 << 16) { pthread_mutex_unlock(&lock); munmap(m, whole); return cudaErrorMemoryAllocation; }
  ranges[nranges++] = (Range){m, whole, device};
  if (device >= 0) used[device] += whole;
  pthread_mutex_unlock(&lock);
  *p = m; return 0;
}
static cudaError_t release(void* p) {
  if (!p) return 0;
  pthread_mutex_lock(&lock);
  for (int i = 0; i < nranges; i++) if (ranges[i].at == p) {
    if (ranges[i].device >= 0) used[ranges[i].device] -= ranges[i].size;
    munmap(p, ranges[i].size); ranges[i] = ranges[--nranges]; break;
  }
  pthread_mutex_unlock(&lock); return 0;
}
EXPORT cudaError_t cudaMalloc(void** p, size_t n) { ADD(MALLOC, 1); TOUCH(); return reserve(p, n, current); }
EXPORT cudaError_t cudaMallocAsync(void** p, size_t n, cudaStream_t s) { return cudaMalloc(p, n); }
EXPORT cudaError_t cudaFree(void* p) { ADD(FREE, 1); return release(p); }
EXPORT cudaError_t cudaFreeAsync(void* p, cudaStream_t s) { return cudaFree(p); }
EXPORT cudaError_t cudaHostAlloc(void** p, size_t n, unsigned f) { ADD(PINNED, 1); return reserve(p, n, -1); }
EXPORT cudaError_t cudaFreeHost(void* p) { return release(p); }
EXPORT cudaError_t cudaMemGetInfo(size_t* f, size_t* t) { *t = total_bytes(); *f = total_bytes() - (500L << 20) - used[current]; return 0; }
EXPORT cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes* a, const void* p) {
  memset(a, 0, sizeof *a); pthread_mutex_lock(&lock); Range* r = find(p);
  if (r) { a->type = r->device >= 0 ? cudaMemoryTypeDevice : cudaMemoryTypeHost; a->device = r->device >= 0 ? r->device : 0; a->devicePointer = (void*)p; a->hostPointer = r->device >= 0 ? 0 : (void*)p; }
  else { a->type = cudaMemoryTypeUnregistered; a->device = -2; }
  pthread_mutex_unlock(&lock); return 0;
}
static int is_pinned(const void* p) { pthread_mutex_lock(&lock); Range* r = find(p); int y = r && r->device < 0; pthread_mutex_unlock(&lock); return y; }
static cudaError_t copied(void* d, const void* s, size_t n, enum cudaMemcpyKind k) {
  TOUCH();
  if (k == cudaMemcpyHostToDevice) { ADD(H2D, 1); ADD(H2D_BYTES, n); if (!is_pinned(s)) { ADD(H2D_PAGEABLE, 1); if (n > 65536) wait_until(busy); } }
  else if (k == cudaMemcpyDeviceToHost) { ADD(D2H, 1); ADD(D2H_BYTES, n); }
  else { ADD(D2D, 1); ADD(D2D_BYTES, n); }
  if ((long)n <= copy_limit()) memmove(d, s, n);
  return 0;
}
EXPORT cudaError_t cudaMemcpyAsync(void* d, const void* s, size_t n, enum cudaMemcpyKind k, cudaStream_t st) { return copied(d, s, n, k); }
EXPORT cudaError_t cudaMemcpy(void* d, const void* s, size_t n, enum cudaMemcpyKind k) { ADD(SYNC, 1); wait_until(busy); return copied(d, s, n, k); }
EXPORT cudaError_t cudaMemcpyPeerAsync(void* d, int dd, const void* s, int sd, size_t n, cudaStream_t st) { return copied(d, s, n, cudaMemcpyDeviceToDevice); }
EXPORT cudaError_t cudaMemcpy2DAsync(void* d, size_t dp, const void* s, size_t sp, size_t w, size_t h, enum cudaMemcpyKind k, cudaStream_t st) { for (size_t i = 0; i < h; i++) memmove((char*)d + i * dp, (char*)s + i * sp, w); ADD(D2D, 1); return 0; }
EXPORT cudaError_t cudaMemset(void* d, int v, size_t n) { ADD(MEMSET, 1); if ((long)n <= 1 << 20) memset(d, v, n); return 0; }
EXPORT cudaError_t cudaMemsetAsync(void* d, int v, size_t n, cudaStream_t s) { TOUCH(); return cudaMemset(d, v, n); }
EXPORT cudaError_t cudaGetSymbolAddress(void** p, const void* s) { static char place[1 << 16]; *p = place; return 0; }

// ---- streams and events
EXPORT cudaError_t cudaStreamCreateWithPriority(cudaStream_t* s, unsigned f, int p) { TOUCH(); *s = malloc(16); return 0; }
EXPORT cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned f) { *s = malloc(16); return 0; }
EXPORT cudaError_t cudaStreamCreate(cudaStream_t* s) { *s = malloc(16); return 0; }
EXPORT cudaError_t cudaStreamGetPriority(cudaStream_t s, int* p) { *p = 0; return 0; }
EXPORT cudaError_t cudaStreamSynchronize(cudaStream_t s) { if (any_capture) return cudaErrorStreamCaptureUnsupported; ADD(SYNC, 1); wait_until(busy); return 0; }
EXPORT cudaError_t cudaDeviceSynchronize(void) { if (any_capture) return cudaErrorStreamCaptureUnsupported; ADD(SYNC, 1); wait_until(busy); return 0; }
EXPORT cudaError_t cudaEventSynchronize(cudaEvent_t e) { ADD(SYNC, 1); wait_until(((double*)e)[0]); return 0; }
EXPORT cudaError_t cudaEventQuery(cudaEvent_t e) { return ((double*)e)[0] > now_ms() ? cudaErrorNotReady : 0; }
EXPORT cudaError_t cudaStreamQuery(cudaStream_t s) { return busy > now_ms() ? cudaErrorNotReady : 0; }
static enum cudaStreamCaptureStatus status_of(cudaStream_t s) { return any_capture && s == capturing ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone; }
EXPORT cudaError_t cudaStreamIsCapturing(cudaStream_t s, enum cudaStreamCaptureStatus* v) { *v = status_of(s); return 0; }
EXPORT cudaError_t cudaStreamGetCaptureInfo(cudaStream_t s, enum cudaStreamCaptureStatus* v, unsigned long long* id, cudaGraph_t* g, const cudaGraphNode_t** d, const cudaGraphEdgeData** e, size_t* n) { *v = status_of(s); if (id) *id = *v ? any_capture : 0; if (n) *n = 0; return 0; }
static int captures;
EXPORT cudaError_t cudaStreamBeginCapture(cudaStream_t s, enum cudaStreamCaptureMode m) { if (any_capture) return cudaErrorIllegalState; capturing = s; captured = 0; any_capture = ++captures; return 0; }
EXPORT cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t* g) { if (!status_of(s)) return cudaErrorIllegalState; long* n = malloc(16); *n = captured; any_capture = 0; *(long**)g = n; return 0; }
EXPORT cudaError_t cudaGraphGetNodes(cudaGraph_t g, cudaGraphNode_t* nodes, size_t* n) { *n = *(long*)g; return 0; }
EXPORT cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* e, cudaGraph_t g, unsigned long long f) { long* n = malloc(16); *n = *(long*)g; *(long**)e = n; return 0; }
EXPORT cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t s) { ADD(GRAPHS, 1); TOUCH(); worked(*(long*)e); return 0; }
EXPORT cudaError_t cudaGraphDestroy(cudaGraph_t g) { free(g); return 0; }
EXPORT cudaError_t cudaGraphExecDestroy(cudaGraphExec_t e) { free(e); return 0; }
EXPORT cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned f) { *e = calloc(1, 16); return 0; }
EXPORT cudaError_t cudaEventCreate(cudaEvent_t* e) { *e = calloc(1, 16); return 0; }
EXPORT cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) { ADD(EVENT_RECORD, 1); double n = now_ms(); *(double*)e = busy > n ? busy : n; return 0; }
EXPORT cudaError_t cudaEventRecordWithFlags(cudaEvent_t e, cudaStream_t s, unsigned f) { return cudaEventRecord(e, s); }
EXPORT cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t a, cudaEvent_t b) { *ms = *(double*)b - *(double*)a; return 0; }

// ---- functions
EXPORT cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes* a, const void* f) {
  memset(a, 0, sizeof *a); a->maxThreadsPerBlock = 1024; a->numRegs = 32; a->ptxVersion = 90; a->binaryVersion = 90; a->maxDynamicSharedSizeBytes = 232448; return 0;
}
EXPORT cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* n, const void* f, int b, size_t s) { *n = 2; return 0; }
EXPORT cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* n, const void* f, int b, size_t s, unsigned x) { *n = 2; return 0; }
static long nothing(void) { return 0; }
EXPORT cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** f, unsigned v, unsigned long long fl, enum cudaDriverEntryPointQueryResult* r) {
  *f = dlsym(RTLD_DEFAULT, name); if (!*f) *f = (void*)nothing; if (r) *r = cudaDriverEntryPointSuccess; return 0;
}
// ---- the driver
EXPORT int cuDevicePrimaryCtxGetState(int d, unsigned* f, int* a) { if (f) *f = 0; *a = touched[d & 15] > 0; return 0; }
EXPORT int cuDeviceGet(int* d, int n) { *d = n; return 0; }
EXPORT int cuCtxGetCurrent(void** c) { *c = (void*)8; return 0; }
EXPORT int cuDevicePrimaryCtxRetain(void** c, int d) { *c = (void*)8; return 0; }
EXPORT int cuGetErrorString(int e, const char** s) { *s = "driver error of the null device"; return 0; }
// ---- virtual memory of the driver, for expandable segments
EXPORT int cuMemAddressReserve(void** p, size_t n, size_t a, void* at, unsigned long long f) { void* m = mmap(0, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0); if (m == MAP_FAILED) return 2; *p = m;
  pthread_mutex_lock(&lock); if (nranges < 1 << 16) ranges[nranges++] = (Range){m, n, current}; pthread_mutex_unlock(&lock); return 0; }
EXPORT int cuMemAddressFree(void* p, size_t n) { pthread_mutex_lock(&lock); for (int i = 0; i < nranges; i++) if (ranges[i].at == p) { munmap(p, n); ranges[i] = ranges[--nranges]; break; } pthread_mutex_unlock(&lock); return 0; }
EXPORT int cuMemCreate(unsigned long long* h, size_t n, const void* prop, unsigned long long f) { if (used[current] + (long)n > total_bytes() - (500L << 20)) return 2; long* x = malloc(16); x[0] = n; x[1] = current; used[current] += n; *h = (unsigned long long)x; ADD(MALLOC, 1); return 0; }
EXPORT int cuMemRelease(unsigned long long h) { long* x = (long*)h; used[x[1]] -= x[0]; free(x); ADD(FREE, 1); return 0; }
EXPORT int cuMemMap(void* p, size_t n, size_t o, unsigned long long h, unsigned long long f) { return 0; }
EXPORT int cuMemUnmap(void* p, size_t n) { madvise(p, n, MADV_DONTNEED); return 0; }
EXPORT int cuMemSetAccess(void* p, size_t n, const void* d, size_t c) { return 0; }
EXPORT int cuMemGetAllocationGranularity(size_t* g, const void* prop, int o) { *g = 2 << 20; return 0; }
