// cuBLAS, cuDNN, NCCL, cuSOLVER for the null device.
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cudnn.h>
#define EXPORT __attribute__((visibility("default")))
void null_named(const char* name); void null_add(int which, long n);
enum { CUDNN = 11, NCCL = 13, LINALG = 18 };

// ---- cuDNN, graph API
typedef struct { int type; int mode; } Desc;
EXPORT size_t cudnnGetVersion(void) { return 92400; }
EXPORT size_t cudnnGetCudartVersion(void) { return 13000; }
EXPORT const char* cudnnGetErrorString(cudnnStatus_t s) { return "cudnn error of the null device"; }
EXPORT void cudnnGetLastErrorString(char* m, size_t n) { if (n) *m = 0; }
EXPORT cudnnStatus_t cudnnGetProperty(libraryPropertyType t, int* v) { *v = t == MAJOR_VERSION ? 9 : t == MINOR_VERSION ? 24 : 0; return 0; }
#define MAKE(name, type) EXPORT cudnnStatus_t name(type* d) { *d = calloc(1, 64); return 0; }
MAKE(cudnnCreate, cudnnHandle_t)
MAKE(cudnnCreateTensorDescriptor, cudnnTensorDescriptor_t)
MAKE(cudnnCreateFilterDescriptor, cudnnFilterDescriptor_t)
MAKE(cudnnCreateConvolutionDescriptor, cudnnConvolutionDescriptor_t)
MAKE(cudnnCreateActivationDescriptor, cudnnActivationDescriptor_t)
MAKE(cudnnCreatePoolingDescriptor, cudnnPoolingDescriptor_t)
MAKE(cudnnCreateDropoutDescriptor, cudnnDropoutDescriptor_t)
EXPORT cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t t, cudnnBackendDescriptor_t* d) { Desc* x = calloc(1, sizeof(Desc)); x->type = t; *d = x; return 0; }
EXPORT cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t d) { free(d); return 0; }
EXPORT cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t n, cudnnBackendAttributeType_t t, int64_t c, const void* v) { return 0; }
static long plans; EXPORT long null_plans(void) { return plans; }
EXPORT cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t d) { if (((Desc*)d)->type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) __atomic_fetch_add(&plans, 1, __ATOMIC_RELAXED); return 0; }
EXPORT cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const d, cudnnBackendAttributeName_t n, cudnnBackendAttributeType_t t, int64_t want, int64_t* count, void* v) {
  switch ((int)n) {
    case CUDNN_ATTR_ENGINEHEUR_RESULTS: if (count) *count = 1; break;
    case CUDNN_ATTR_OPERATIONGRAPH_ENGINE_GLOBAL_COUNT: if (count) *count = 1; if (v) *(int64_t*)v = 1; break;
    case CUDNN_ATTR_ENGINECFG_ENGINE: if (count) *count = 1; break;
    case CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE: if (count) *count = 1; if (v) *(int64_t*)v = 0; break;
    case CUDNN_ATTR_ENGINE_GLOBAL_INDEX: if (count) *count = 1; if (v) *(int64_t*)v = 0; break;
    default: if (count) *count = 0;
  }
  return 0;
}
EXPORT cudnnStatus_t cudnnBackendExecute(cudnnHandle_t h, cudnnBackendDescriptor_t p, cudnnBackendDescriptor_t v) { null_named("cudnnBackendExecute"); null_add(CUDNN, 1); return 0; }
EXPORT cudnnStatus_t cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize(cudnnHandle_t h, cudnnBatchNormMode_t m, cudnnBatchNormOps_t o, const cudnnTensorDescriptor_t a, const cudnnTensorDescriptor_t b, const cudnnTensorDescriptor_t c, const cudnnTensorDescriptor_t d, const cudnnActivationDescriptor_t e, size_t* s) { *s = 0; return 0; }
EXPORT cudnnStatus_t cudnnGetBatchNormalizationBackwardExWorkspaceSize(cudnnHandle_t h, cudnnBatchNormMode_t m, cudnnBatchNormOps_t o, const cudnnTensorDescriptor_t a, const cudnnTensorDescriptor_t b, const cudnnTensorDescriptor_t c, const cudnnTensorDescriptor_t d, const cudnnTensorDescriptor_t e, const cudnnTensorDescriptor_t f, const cudnnActivationDescriptor_t g, size_t* s) { *s = 0; return 0; }
EXPORT cudnnStatus_t cudnnGetBatchNormalizationTrainingExReserveSpaceSize(cudnnHandle_t h, cudnnBatchNormMode_t m, cudnnBatchNormOps_t o, const cudnnActivationDescriptor_t e, const cudnnTensorDescriptor_t x, size_t* s) { *s = 0; return 0; }
// ---- cuBLAS; its headers and those of NCCL include C++, so what is needed is declared by hand: enumerations are int
static long made(void** handle) { *handle = calloc(1, 64); return 0; }
EXPORT long cublasCreate_v2(void** h) { return made(h); }
EXPORT long cublasGetMathMode(void* h, int* mode) { *mode = 0; return 0; }
EXPORT long cublasGetPointerMode_v2(void* h, int* mode) { *mode = 0; return 0; }
EXPORT long cublasLtMatmulDescCreate(void** d, int compute, int type) { return made(d); }
EXPORT long cublasLtMatrixLayoutCreate(void** d, int type, uint64_t rows, uint64_t columns, int64_t leading) { return made(d); }
EXPORT long cublasLtMatmulPreferenceCreate(void** d) { return made(d); }
EXPORT size_t cublasLtGetVersion(void) { return 130001; }
typedef struct { uint64_t algo[8]; size_t workspace; int state; float waves; int reserved[4]; } Heuristic;
EXPORT long cublasLtMatmulAlgoGetHeuristic(void* h, void* o, void* a, void* b, void* c, void* d, void* p, int n, Heuristic* found, int* got) { memset(found, 0, sizeof *found); *got = 1; return 0; }
// ---- NCCL
typedef struct { char bytes[128]; } UniqueId;
EXPORT long ncclGetVersion(int* v) { *v = 23007; return 0; }
EXPORT long ncclGetUniqueId(UniqueId* id) { memset(id, 7, sizeof *id); return 0; }
EXPORT const char* ncclGetErrorString(int r) { return "nccl error of the null device"; }
EXPORT const char* ncclGetLastError(void* c) { return ""; }
EXPORT long ncclCommInitRankConfig(void** c, int n, UniqueId id, int r, void* f) { return made(c); }
EXPORT long ncclCommInitRankScalable(void** c, int n, int r, int k, UniqueId* id, void* f) { return made(c); }
EXPORT long ncclCommGetAsyncError(void* c, int* e) { *e = 0; return 0; }
EXPORT long ncclCommCount(void* c, int* n) { *n = 1; return 0; }
#define REDUCES(name) EXPORT long name(void) { null_named(#name); null_add(NCCL, 1); return 0; }
REDUCES(ncclAllReduce) REDUCES(ncclBroadcast) REDUCES(ncclAllGather)
// ---- cuSOLVER
EXPORT long cusolverDnCreate(void** h) { *h = calloc(1, 64); return 0; }
#define SIZE6(name) EXPORT long name(void* h, int m, int n, void* A, int l, int* w) { *w = 1024; return 0; }
SIZE6(cusolverDnDgetrf_bufferSize) SIZE6(cusolverDnSgetrf_bufferSize)
EXPORT long cusolverDnXgetrf_bufferSize(void* h, void* p, int64_t m, int64_t n, int t, const void* A, int64_t l, int ct, size_t* d, size_t* ho) { *d = 1024; *ho = 0; return 0; }
EXPORT long cusolverDnCreateParams(void** h) { *h = calloc(1, 64); return 0; }

#define GETRF(name) EXPORT long name(void* h, int m, int n, void* A, int l, void* w, int* p, int* info) { null_named(#name); null_add(LINALG, 1); if (info) *info = 0; if (p) for (int i = 0; i < (m < n ? m : n); i++) p[i] = i + 1; return 0; }
GETRF(cusolverDnDgetrf) GETRF(cusolverDnSgetrf)
#define GETRS(name) EXPORT long name(void* h, int t, int n, int r, const void* A, int l, const int* p, void* B, int lb, int* info) { null_named(#name); null_add(LINALG, 1); if (info) *info = 0; return 0; }
GETRS(cusolverDnDgetrs) GETRS(cusolverDnSgetrs)
EXPORT long cusolverDnXgetrf(void* h, void* p, int64_t m, int64_t n, int t, void* A, int64_t l, int64_t* ip, int ct, void* w, size_t ws, void* hw, size_t hs, int* info) { null_named("cusolverDnXgetrf"); null_add(LINALG, 1); if (info) *info = 0; return 0; }
EXPORT long cusolverDnXgetrs(void* h, void* p, int t, int64_t n, int64_t r, int ta, const void* A, int64_t l, const int64_t* ip, int tb, void* B, int64_t lb, int* info) { null_named("cusolverDnXgetrs"); null_add(LINALG, 1); if (info) *info = 0; return 0; }
