// What the CUDA headers of torch's packages need of a compiler that is not NVIDIA's. The toolkit's own file is not among them.
#pragma once
#define __align__(n) __attribute__((aligned(n)))
#define __cudart_builtin__
#define __device_builtin__
#define __device_builtin_surface_type__
#define __device_builtin_texture_type__
#define __builtin_align__(n) __align__(n)
#define __host__
#define __device__
#define __global__
#define CUDARTAPI
#define CUDARTAPI_CDECL
#define CUDA_CB
#define __specialization_static
