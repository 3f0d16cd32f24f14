package io.gatun.bench.peers;

import static io.gatun.bench.DecodeCase.HEAD_SIZE;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.bench.DecodeCase;
import io.gatun.bench.DecodeData;
import io.gatun.bench.HugePages;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntFunction;
import java.util.stream.IntStream;

/** The numbers of a cache in other types, [heads, keys, head size], as many times as have to rotate. */
final class CacheCopies {
    private CacheCopies() {}

    /** How many there have to be of a type. */
    static int count(DecodeCase problem, DecodeData data, DType dtype) {
        return data.copies(problem.bytes(dtype.bytes(HEAD_SIZE)));
    }

    /** Keys, or values; those in f32 are everybody's. */
    static List<MemorySegment> of(
            Arena arena, DecodeCase problem, DecodeData data, IntFunction<Tensor> values, DType dtype) {
        int count = count(problem, data, dtype);
        if (dtype == DType.F32) {
            return IntStream.range(0, count)
                    .mapToObj(copy -> values.apply(copy).segment())
                    .toList();
        }
        List<MemorySegment> copies = new ArrayList<>();
        copies.add(converted(arena, values.apply(0).segment(), dtype, data.unit()));
        while (copies.size() < count) {
            MemorySegment first = copies.getFirst();
            copies.add(HugePages.allocate(arena, first.byteSize()).copyFrom(first));
        }
        return copies;
    }

    /** Rows of f32 in another type; as codes, 4 bits of 0..15 for -8..7, multiples of a unit. */
    static MemorySegment converted(Arena arena, MemorySegment values, DType dtype, float unit) {
        if (dtype == DType.F32) {
            return values;
        }
        int rows = Math.toIntExact(values.byteSize() / Float.BYTES / HEAD_SIZE);
        MemorySegment target = HugePages.allocate(arena, rows * dtype.bytes(HEAD_SIZE));
        IntStream.range(0, rows).parallel().forEach(row -> {
            for (long i = (long) row * HEAD_SIZE; i < (row + 1L) * HEAD_SIZE; i++) {
                float value = values.getAtIndex(ValueLayout.JAVA_FLOAT, i);
                switch (dtype) {
                    case BF16 -> target.setAtIndex(ValueLayout.JAVA_SHORT, i, Bf16.of(value));
                    case F16 -> target.setAtIndex(ValueLayout.JAVA_SHORT, i, Float.floatToFloat16(value));
                    case I8 -> target.set(ValueLayout.JAVA_BYTE, i, (byte) (value / unit));
                    case U4 -> Weights.setNibble(target, i, (int) (value / unit) + 8);
                    default -> throw new IllegalArgumentException(dtype.toString());
                }
            }
        });
        return target;
    }
}
