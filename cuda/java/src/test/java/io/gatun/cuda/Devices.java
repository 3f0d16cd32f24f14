package io.gatun.cuda;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Shape;
import io.gatun.Tensor;

/** The device of these tests: the emulated one or, with {@code -Dgatun.gpu=ON}, the first GPU. */
final class Devices {
    static final String GPU = "gatun.gpu";
    static final Device DEVICE = "ON".equals(System.getProperty(GPU)) ? Cuda.device(0) : new EmulatedDevice();

    private Devices() {}

    static Tensor wrap(long address, DType dtype, Shape shape, long... strides) {
        return DEVICE instanceof CudaDevice gpu
                ? gpu.wrap(address, dtype, shape, strides)
                : ((EmulatedDevice) DEVICE).wrap(address, dtype, shape, strides);
    }
}
