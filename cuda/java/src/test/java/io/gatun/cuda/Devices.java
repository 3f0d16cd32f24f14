package io.gatun.cuda;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Shape;
import io.gatun.Tensor;

/**
 * The device of these tests: the emulated one or, with {@code -Dgatun.gpu=ON}, the first GPU; with {@code EMULATED}, the
 * first of those that the emulated CUDA runtime has.
 */
final class Devices {
    static final String GPU = "gatun.gpu";
    static final String ANY = "ON|EMULATED";
    static final Device DEVICE = System.getProperty(GPU) == null ? new EmulatedDevice() : Cuda.device(0);

    private Devices() {}

    static Tensor wrap(long address, DType dtype, Shape shape, long... strides) {
        return DEVICE instanceof CudaDevice gpu
                ? gpu.wrap(address, dtype, shape, strides)
                : ((EmulatedDevice) DEVICE).wrap(address, dtype, shape, strides);
    }
}
