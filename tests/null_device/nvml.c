// NVML of the null device: only what torch's expandable segments ask.
#include <stdlib.h>
#include <string.h>
int nvmlInit(void) { return 0; } int nvmlInit_v2(void) { return 0; } int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetHandleByPciBusId_v2(const char* p, void** d) { *d = (void*)1; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void** d) { *d = (void*)1; return 0; }
int nvmlDeviceGetNvLinkRemoteDeviceType(void* d, unsigned l, int* t) { return 3; }
int nvmlDeviceGetNvLinkRemotePciInfo_v2(void* d, unsigned l, void* p) { return 3; }
int nvmlDeviceGetComputeRunningProcesses(void* d, unsigned* n, void* p) { *n = 0; return 0; }
int nvmlSystemGetCudaDriverVersion_v2(int* v) { *v = 13000; return 0; }
int nvmlDeviceGetGpuFabricInfoV(void* d, void* i) { return 3; }
int nvmlDeviceGetCount_v2(unsigned* n) { const char* e = getenv("NULL_DEVICE_COUNT"); *n = e ? atoi(e) : 1; return 0; }
