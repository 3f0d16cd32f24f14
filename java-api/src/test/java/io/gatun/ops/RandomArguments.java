package io.gatun.ops;

import io.gatun.DType;
import io.gatun.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Arguments for random calls: good ones in unusual places, and ones with a flaw. */
final class RandomArguments {
    private RandomArguments() {}

    static QuantSpec spec(Random random, int depth) {
        long group = depth < 16 || random.chance(0.3) ? 0 : random.between(16, depth);
        QuantSpec spec = random.of(
                QuantSpec.int8(group),
                QuantSpec.int8Asymmetric(group),
                QuantSpec.int4(group),
                QuantSpec.int4Asymmetric(group));
        return spec.withScales(random.of(DType.F32, DType.F16));
    }

    /** A matrix of its own with gaps between the rows. */
    static Guarded guarded(Random random, DType dtype, int rows, int columns) {
        return Guarded.matrix(
                Arena.ofAuto(), dtype, rows, columns, columns + random.between(0, 5), random.between(0, 9));
    }

    /** The first matrix on another address, shape, type or arena: none of them allowed where it was. */
    static Tensor spoiled(Random random, Tensor good, DType... wrongTypes) {
        long rows = good.shape().size(0);
        long columns = good.shape().size(1);
        return switch (random.between(0, 5)) {
            case 0 -> Unreachable.closed(good.dtype(), rows, columns);
            case 1 -> Unreachable.foreign(good.dtype(), rows, columns);
            case 2 -> Tensor.allocate(good.dtype(), rows, columns + 1);
            case 3 -> Tensor.allocate(random.of(wrongTypes), rows, columns);
            case 4 -> Tensor.allocate(good.dtype(), rows * columns);
            default -> null;
        };
    }

    /** The same matrix with strides that no index reaches: they are free on axes of one element or none. */
    static Tensor withFreeStrides(Random random, Tensor x) {
        long[] strides = x.strides();
        for (int axis = 0; axis < 2; axis++) {
            if (x.shape().size(axis) <= 1 && random.chance(0.3)) {
                strides[axis] = random.of(1L, 1L << 40, Long.MAX_VALUE);
            }
        }
        return Tensor.wrap(x.segment(), x.dtype(), x.shape(), strides);
    }

    /** Flips a bit of the header of packed weights that begins there, and says which. */
    static String flipBit(Random random, MemorySegment bytes, long header) {
        long at = header + random.between(0, 63);
        int bit = random.between(0, 7);
        bytes.set(ValueLayout.JAVA_BYTE, at, (byte) (bytes.get(ValueLayout.JAVA_BYTE, at) ^ 1 << bit));
        return " bit " + bit + " of byte " + at + " flipped";
    }
}
