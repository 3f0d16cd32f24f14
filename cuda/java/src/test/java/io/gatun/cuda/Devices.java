package io.gatun.cuda;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Shape;
import io.gatun.Tensor;

/**
 * The device of these tests: the emulated one or, with {@code -Dgatun.test.device}, the first that the CUDA runtime has,
 * which is {@code gpu} for a real one and {@code emulated-runtime} for ours.
 */
final class Devices {
    static final String PROPERTY = "gatun.test.device";
    static final Device DEVICE = System.getProperty(PROPERTY) == null ? new EmulatedDevice() : Cuda.device(0);

    private Devices() {}

    static Tensor wrap(long address, DType dtype, Shape shape, long... strides) {
        return DEVICE instanceof CudaDevice gpu
                ? gpu.wrap(address, dtype, shape, strides)
                : ((EmulatedDevice) DEVICE).wrap(address, dtype, shape, strides);
    }
}
