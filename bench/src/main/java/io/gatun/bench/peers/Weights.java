package io.gatun.bench.peers;

import io.gatun.bench.HugePages;
import io.gatun.bench.QMatmulCase;
import io.gatun.bench.QMatmulData;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.function.Consumer;
import java.util.stream.IntStream;

/** The weights of a case in the forms that peers take, all copies of them. */
final class Weights {
    /** Larger than any cache, so that it is no use to keep more. */
    private static final long ROTATION_BYTES = 512L << 20;

    final int columns;
    final int depth;
    final int group;
    final int groups;

    private final boolean int4;
    private final QMatmulData data;

    Weights(QMatmulCase problem, QMatmulData data) {
        this.columns = Math.toIntExact(problem.columns());
        this.depth = Math.toIntExact(problem.depth());
        this.group = Math.toIntExact(problem.groupSize());
        this.groups = Math.toIntExact(problem.groups());
        this.int4 = problem.isInt4();
        this.data = data;
    }

    /** Puts a row of weights where a form has it. Rows 2 i and 2 i + 1 are put one after the other, others at once. */
    interface RowPacker {
        /** @param values the row's depth integers, what codes stand for: int4 -8..7, int8 -127..127 */
        void pack(int row, byte[] values, MemorySegment target);
    }

    /** How many copies of weights of that many bytes are worth having. */
    int copies(long bytes) {
        return Math.toIntExact(Math.min(data.copies, Math.ceilDiv(ROTATION_BYTES, bytes)));
    }

    /** Copies of weights of that many bytes in a form, the rest of it zeros. */
    MemorySegment[] pack(Arena arena, long bytes, RowPacker packer) {
        MemorySegment[] copies = new MemorySegment[copies(bytes)];
        copies[0] = HugePages.allocate(arena, bytes);
        packFirst(packer, copies[0]);
        for (int copy = 1; copy < copies.length; copy++) {
            copies[copy] = HugePages.allocate(arena, bytes).copyFrom(copies[0]);
            packNext(copy, packer, copies[copy]);
        }
        return copies;
    }

    /** Hands over that many copies in a form that is not kept, one after the other in the same memory. */
    void convert(int copies, long bytes, RowPacker packer, Consumer<MemorySegment> conversion) {
        try (Arena arena = Arena.ofShared()) {
            MemorySegment plain = HugePages.allocate(arena, bytes);
            packFirst(packer, plain);
            conversion.accept(plain);
            for (int copy = 1; copy < copies; copy++) {
                packNext(copy, packer, plain);
                conversion.accept(plain);
            }
        }
    }

    private void packFirst(RowPacker packer, MemorySegment target) {
        IntStream.range(0, Math.ceilDiv(columns, 2)).parallel().forEach(pair -> {
            for (int row = 2 * pair; row < Math.min(columns, 2 * pair + 2); row++) {
                packer.pack(row, row(0, row), target);
            }
        });
    }

    /** Makes a copy of another one: they differ in row 0 alone. */
    private void packNext(int copy, RowPacker packer, MemorySegment target) {
        packer.pack(0, row(copy, 0), target);
    }

    /** [N, K] times its scales, in f32. */
    void dequantizeF32(int row, byte[] values, MemorySegment target) {
        for (int k = 0; k < depth; k++) {
            target.setAtIndex(ValueLayout.JAVA_FLOAT, (long) row * depth + k, values[k] * scale(row, k / group));
        }
    }

    /** [N, K] times its scales, rounded to bf16. */
    void dequantizeBf16(int row, byte[] values, MemorySegment target) {
        for (int k = 0; k < depth; k++) {
            short value = Bf16.of(values[k] * scale(row, k / group));
            target.setAtIndex(ValueLayout.JAVA_SHORT, (long) row * depth + k, value);
        }
    }

    /** [N, K] of int8. */
    void bytes(int row, byte[] values, MemorySegment target) {
        MemorySegment.copy(values, 0, target, ValueLayout.JAVA_BYTE, (long) row * depth, depth);
    }

    /** Sets element i of an array of 4 bits each, low half first. */
    static void setNibble(MemorySegment target, long i, int value) {
        int shift = (int) (i & 1) * 4;
        int other = target.get(ValueLayout.JAVA_BYTE, i / 2) & 0xf0 >> shift;
        target.set(ValueLayout.JAVA_BYTE, i / 2, (byte) (other | (value & 15) << shift));
    }

    float scale(int row, int index) {
        return data.scales[row * groups + index];
    }

    private byte[] row(int copy, int row) {
        byte[] values = new byte[depth];
        for (int k = 0; k < depth; k++) {
            byte code = data.codeOf(copy, row, k);
            values[k] = int4 ? (byte) (code - 8) : code;
        }
        return values;
    }
}
