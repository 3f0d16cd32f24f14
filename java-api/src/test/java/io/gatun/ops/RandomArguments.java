package io.gatun.ops;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.RandomCalls.Outcome;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.stream.Stream;

/** Arguments for random calls: good ones in unusual places, and ones with a flaw. */
final class RandomArguments {
    private RandomArguments() {}

    static QuantSpec spec(Random random, int depth) {
        long group = depth < 16 || random.chance(0.3) ? 0 : random.between(16, depth);
        List<QuantSpec> specs = Stream.of(
                        Formats.integers(group),
                        Formats.floats8().map(spec -> spec.withGroup(group)),
                        Formats.microscaling().map(spec -> spec.withGroup(group)),
                        Formats.books().filter(spec -> !spec.nested()).map(spec -> spec.withGroup(group)))
                .flatMap(all -> all)
                .toList();
        return specs.get(random.between(0, specs.size() - 1));
    }

    /** The same, or blocks of several rows, flat or nested. */
    static QuantSpec anySpec(Random random, int depth) {
        QuantSpec spec = spec(random, depth);
        return switch (random.between(0, 5)) {
            case 0 -> spec.withFlatBlocks(random.of(0, random.between(16, 200)));
            case 1 -> spec.scales() == DType.F32 ? spec.withNestedScales() : spec;
            case 2 -> {
                boolean several = spec.codes() == DType.F8E4M3 || spec.codes() == DType.F8E5M2;
                yield several ? spec.withBlocks(random.between(0, 4), spec.group()) : spec;
            }
            default -> spec;
        };
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

    /** A tensor of this type and shape that the current thread must not use. */
    static Tensor elsewhere(Random random, Tensor good) {
        long[] shape = good.shape().toArray();
        return random.of(Unreachable.closed(good.dtype(), shape), Unreachable.foreign(good.dtype(), shape));
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

    /**
     * Packed weights as somebody may hand them over.
     *
     * @param bytes whole, cut short, or with a flipped bit in the header
     * @param what was done to them
     * @param right what must happen
     */
    record Buffer(MemorySegment bytes, String what, Outcome right) {
        static Buffer of(Random random, MemorySegment good) {
            MemorySegment bytes = Arena.ofAuto().allocate(good.byteSize(), 64).copyFrom(good);
            return switch (random.between(0, 5)) {
                case 0 -> {
                    long size = random.source.nextLong(good.byteSize());
                    yield new Buffer(bytes.asSlice(0, size), " in " + size + " bytes", Outcome.REFUSED);
                }
                case 1, 2, 3 -> new Buffer(bytes, flipBit(random, bytes, 0), Outcome.EITHER);
                default -> new Buffer(bytes, "", Outcome.ACCEPTED);
            };
        }
    }

    /** Flips a bit of the header of packed weights that begins there, and says which. */
    static String flipBit(Random random, MemorySegment bytes, long header) {
        long at = header + random.between(0, 63);
        int bit = random.between(0, 7);
        bytes.set(ValueLayout.JAVA_BYTE, at, (byte) (bytes.get(ValueLayout.JAVA_BYTE, at) ^ 1 << bit));
        return " bit " + bit + " of byte " + at + " flipped";
    }
}
