package io.gatun.jlama;

import com.github.tjake.jlama.tensor.AbstractTensor;
import com.github.tjake.jlama.tensor.Q4ByteBufferTensor;
import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.PackedWeights;
import io.gatun.ops.Packing;
import io.gatun.ops.QMatmul;
import io.gatun.ops.QuantSpec;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.ref.Cleaner;
import java.util.Collections;
import java.util.Map;
import java.util.WeakHashMap;

/**
 * Jlama's weights of 4 bits as Gatun multiplies them: packed by the first product of a tensor, and kept as long as the
 * tensor. For any number of threads.
 */
final class PackedTensors {
    private static final QuantSpec Q4 =
            QuantSpec.int4(Q4ByteBufferTensor.BLOCK_SIZE).withScales(DType.F32);
    private static final Cleaner CLEANER = Cleaner.create();

    /** Tensors are equal to nothing but themselves. */
    private final Map<AbstractTensor, Slot> slots = Collections.synchronizedMap(new WeakHashMap<>());

    private static final class Slot {
        private volatile PackedWeights packed;

        PackedWeights get(Q4ByteBufferTensor tensor) {
            PackedWeights known = packed;
            return known != null ? known : packOnce(tensor);
        }

        private synchronized PackedWeights packOnce(Q4ByteBufferTensor tensor) {
            if (packed == null) {
                Arena arena = Arena.ofShared();
                try {
                    packed = pack(tensor, arena);
                } catch (Throwable e) {
                    arena.close();
                    throw e;
                }
                CLEANER.register(tensor, arena::close);
            }
            return packed;
        }
    }

    /** Another thread that wants the same tensor waits until it is packed. The caller keeps the tensor reachable. */
    PackedWeights of(Q4ByteBufferTensor tensor) {
        return slots.computeIfAbsent(tensor, missing -> new Slot()).get(tensor);
    }

    /** Tensors that are packed now. */
    int size() {
        return slots.size();
    }

    private static PackedWeights pack(Q4ByteBufferTensor tensor, Arena target) {
        int row = tensor.shape().sparseRowOffset();
        int column = tensor.shape().sparseColumnOffset();
        long rows = tensor.shape().sparseRowLength();
        long depth = tensor.shape().sparseColumnLength();
        var factors = tensor.getBlockF();
        int factor = factors.getOffset(row, column / Q4ByteBufferTensor.BLOCK_SIZE);
        long blocks = depth / Q4ByteBufferTensor.BLOCK_SIZE;
        Tensor codes = Tensor.wrap(tensor.getMemorySegment(), DType.U8, rows, depth / 2);
        MemorySegment scales = factors.getMemorySegment().asSlice(factor * 4L, rows * blocks * 4);
        try (Arena arena = Arena.ofConfined()) {
            if (scales.address() % 4 != 0) { // a file of Jlama's, whose header may have any length
                scales = arena.allocate(scales.byteSize(), 4).copyFrom(scales);
            }
            Packing.Planes planes = new Packing.Planes(codes, Tensor.wrap(scales, DType.F32, rows, blocks), null);
            return QMatmul.pack(Packing.read(arena, Packing.Format.JLAMA, Q4, rows, depth, planes), target);
        }
    }
}
