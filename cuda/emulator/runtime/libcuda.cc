// libcuda.so.1 of emulated GPUs: empty, since only libcudart.so.13 calls the driver, and the emulated one does not.
