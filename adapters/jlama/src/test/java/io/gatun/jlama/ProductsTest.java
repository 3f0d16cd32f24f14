package io.gatun.jlama;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.github.tjake.jlama.math.VectorMath;
import com.github.tjake.jlama.safetensors.DType;
import com.github.tjake.jlama.tensor.AbstractTensor;
import com.github.tjake.jlama.tensor.BFloat16BufferTensor;
import com.github.tjake.jlama.tensor.FloatBufferTensor;
import com.github.tjake.jlama.tensor.Q4ByteBufferTensor;
import com.github.tjake.jlama.tensor.Q8ByteBufferTensor;
import com.github.tjake.jlama.tensor.TensorShape;
import com.github.tjake.jlama.tensor.operations.TensorOperationsProvider;
import com.github.tjake.jlama.util.Pair;
import io.gatun.jlama.Oracle.Call;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** The cases of Jlama's tests of products, and ranges, offsets and sparse tensors, for every pair of types. */
class ProductsTest {
    private static final int SIZE = 1024;
    private static final int ROWS = 128;
    private static final int BATCH = 32;
    private static final List<List<DType>> PAIRS = List.of(
            List.of(DType.F32, DType.F32),
            List.of(DType.F32, DType.BF16),
            List.of(DType.BF16, DType.BF16),
            List.of(DType.F32, DType.Q4),
            List.of(DType.I8, DType.Q4));

    private final Random random = new Random(7);
    private final GatunTensorOperations gatun = GatunTensorOperations.require();

    private AbstractTensor tensor(DType dtype, int rows, int columns) {
        return Oracle.as(dtype, Oracle.random(random, rows, columns));
    }

    private static boolean isGatuns(List<DType> pair) {
        return pair.get(1) == DType.Q4;
    }

    private void expectGatun(
            AbstractTensor result, AbstractTensor a, AbstractTensor b, int column, int depth, boolean expected) {
        String text = gatun.explain(result, a, b, column, depth, 0, b.shape().first());
        assertEquals(expected, text.contains("qmatmul_"), text);
    }

    @Test
    void jlamaPicksGatun() {
        String name = TensorOperationsProvider.get().name();
        assertTrue(name.matches("Gatun .* for Q4 weights; Panama Vector Operations for others"), name);
        assertTrue(gatun.parallelSplitSize() >= 2);
    }

    @Test
    void dotProducts() {
        for (List<DType> pair : PAIRS) {
            AbstractTensor a = tensor(pair.get(0), 1, SIZE);
            AbstractTensor b = tensor(pair.get(1), 1, SIZE);
            for (int[] range : new int[][] {{0, SIZE}, {512, 512}, {0, 512}}) {
                FloatBufferTensor result = new FloatBufferTensor(1, 1);
                Call call = new Call(a, b, range[0], range[0], range[1], 0, 0, 1);
                call.check(gatun, result);
                assertEquals(result.get(0, 0), gatun.dotProduct(a, b, range[0], range[0], range[1]), pair.toString());
            }
        }
    }

    @Test
    void batches() {
        for (List<DType> pair : PAIRS) {
            for (int batch : new int[] {1, 2, 5, BATCH}) {
                AbstractTensor a = tensor(pair.get(0), batch, SIZE);
                AbstractTensor b = tensor(pair.get(1), ROWS, SIZE);
                FloatBufferTensor result = new FloatBufferTensor(batch, ROWS);
                new Call(a, b, 0, 0, SIZE, 0, 0, ROWS).check(gatun, result);
                expectGatun(result, a, b, 0, SIZE, isGatuns(pair));
                new Call(a, b, 512, 512, 512, 0, 0, ROWS).check(gatun, result);
                expectGatun(result, a, b, 512, 512, false);
            }
        }
    }

    @Test
    void resultsOfBf16() {
        for (DType dtype : List.of(DType.F32, DType.I8)) {
            AbstractTensor a = tensor(dtype, 3, 96);
            AbstractTensor b = tensor(DType.Q4, 40, 96);
            new Call(a, b, 0, 0, 96, 0, 8, 24).check(gatun, new BFloat16BufferTensor(3, 40));
        }
    }

    /** Jlama's result offset: the second half of a wider result; only some rows; rows that end in a tile. */
    @Test
    void resultOffsetsAndRanges() {
        for (List<DType> pair : PAIRS) {
            AbstractTensor a = tensor(pair.get(0), 6, 256);
            AbstractTensor b = tensor(pair.get(1), ROWS, 256);
            FloatBufferTensor result = new FloatBufferTensor(6, ROWS * 2);
            for (int offset : new int[] {0, ROWS}) {
                for (int[] range : new int[][] {{0, ROWS}, {0, 1}, {3, 70}, {65, 63}, {127, 1}, {64, 0}}) {
                    new Call(a, b, 0, 0, 256, offset, range[0], range[1]).check(gatun, result);
                }
            }
        }
    }

    /** A row of activations within a longer one: heads of a query; the weights have the depth of the part. */
    @Test
    void partsOfActivations() {
        for (List<DType> pair : PAIRS) {
            AbstractTensor b = tensor(pair.get(1), 48, 64);
            for (int batch : new int[] {1, 3}) {
                AbstractTensor a = tensor(pair.get(0), batch, 256);
                new Call(a, b, 128, 0, 64, 0, 0, 48).check(gatun, new FloatBufferTensor(batch, 48));
            }
        }
    }

    /** Tensors that hold a range of the columns, as a node of a cluster does. */
    @Test
    void sparseColumns() {
        for (List<DType> pair : PAIRS) {
            AbstractTensor a = tensor(pair.get(0), 4, 256);
            AbstractTensor b = tensor(pair.get(1), 48, 256);
            AbstractTensor shard = shard(b, 64, 128);
            for (int n = 0; n < 48; n++) {
                for (int k = 64; k < 192; k++) {
                    assertEquals(b.get(n, k), shard.get(n, k));
                }
            }
            FloatBufferTensor result = new FloatBufferTensor(4, 48);
            new Call(a, shard, 64, 64, 128, 0, 5, 40).check(gatun, result);
            new Call(shard(a, 64, 128), shard, 64, 64, 128, 0, 5, 40).check(gatun, result);
            expectGatun(result, shard(a, 64, 128), shard, 64, 128, isGatuns(pair));
        }
    }

    /** The range of the columns as a tensor of its own. Jlama's sparsify copies half of BF16, and no scales of I8. */
    private static AbstractTensor shard(AbstractTensor tensor, int offset, int length) {
        TensorShape shape = tensor.shape().sparsifyColumns(offset, length);
        if (tensor instanceof FloatBufferTensor) {
            return new FloatBufferTensor(
                    "shard", columns(tensor, offset, length).asFloatBuffer(), shape, false);
        }
        if (tensor instanceof BFloat16BufferTensor) {
            return new BFloat16BufferTensor(
                    "shard", columns(tensor, offset, length).asShortBuffer(), shape, false);
        }
        if (tensor instanceof Q8ByteBufferTensor q8) {
            FloatBufferTensor factors = (FloatBufferTensor) shard(q8.getBlockF(), offset / 32, length / 32);
            return new Q8ByteBufferTensor("shard", columns(tensor, offset, length), factors, shape, false);
        }
        FloatBufferTensor factors =
                (FloatBufferTensor) shard(((Q4ByteBufferTensor) tensor).getBlockF(), offset / 32, length / 32);
        return new Q4ByteBufferTensor("shard", columns(tensor, offset, length), factors, shape, false);
    }

    private static ByteBuffer columns(AbstractTensor tensor, int offset, int length) {
        int rows = tensor.shape().first();
        int bytes = tensor.getMemorySegmentOffset(length);
        ByteBuffer copy = ByteBuffer.allocateDirect(rows * bytes).order(ByteOrder.nativeOrder());
        for (int row = 0; row < rows; row++) {
            long from = tensor.getMemorySegmentOffset(tensor.getOffset(row, offset));
            MemorySegment.copy(
                    tensor.getMemorySegment(), from, MemorySegment.ofBuffer(copy), (long) row * bytes, bytes);
        }
        return copy;
    }

    /** Rows 32..80 of weights, as a node of a cluster has them, into a result of all rows and into one of these. */
    @Test
    void sparseRows() {
        int all = 112;
        int first = 32;
        int rows = 48;
        Q4ByteBufferTensor whole = (Q4ByteBufferTensor) tensor(DType.Q4, all, 128);
        FloatBufferTensor factors = new FloatBufferTensor(
                "factors",
                whole.getBlockF()
                        .getMemorySegment()
                        .asSlice(first * 16L, rows * 16L)
                        .asByteBuffer()
                        .order(ByteOrder.nativeOrder())
                        .asFloatBuffer(),
                TensorShape.sparseRow(new int[] {all, 4}, Pair.of(first, rows)),
                false);
        Q4ByteBufferTensor part = new Q4ByteBufferTensor(
                "part",
                whole.getMemorySegment().asSlice(first * 64L, rows * 64L).asByteBuffer(),
                factors,
                TensorShape.sparseRow(new int[] {all, 128}, Pair.of(first, rows)),
                false);
        for (DType dtype : List.of(DType.F32, DType.I8)) {
            AbstractTensor a = tensor(dtype, 3, 128);
            FloatBufferTensor expected = new FloatBufferTensor(3, all);
            FloatBufferTensor result = new FloatBufferTensor(3, all);
            FloatBufferTensor narrow =
                    new FloatBufferTensor(TensorShape.sparseColumn(new int[] {3, all}, Pair.of(first, rows)));
            gatun.batchDotProduct(expected, a, whole, 0, 0, 128, 0, 40, 30);
            gatun.batchDotProduct(result, a, part, 0, 0, 128, 0, 40, 30);
            gatun.batchDotProduct(narrow, a, part, 0, 0, 128, 0, 40, 30);
            for (int m = 0; m < 3; m++) {
                for (int n = 40; n < 70; n++) {
                    assertEquals(expected.get(m, n), result.get(m, n));
                    assertEquals(expected.get(m, n), narrow.get(m, n));
                }
            }
        }
    }

    /** Weights as a file has them, at any address: factors that begin one byte after a multiple of 4. */
    @Test
    void misalignedWeights() {
        Q4ByteBufferTensor aligned = (Q4ByteBufferTensor) tensor(DType.Q4, 48, 128);
        FloatBufferTensor factors = new FloatBufferTensor(
                "factors",
                misaligned(aligned.getBlockF()).asFloatBuffer(),
                aligned.getBlockF().shape(),
                false);
        assertEquals(1, factors.getMemorySegment().address() % 4);
        Q4ByteBufferTensor b = new Q4ByteBufferTensor("weights", misaligned(aligned), factors, aligned.shape(), false);
        for (DType dtype : List.of(DType.F32, DType.I8)) {
            AbstractTensor a = tensor(dtype, 3, 128);
            FloatBufferTensor result = new FloatBufferTensor(3, 48);
            expectGatun(result, a, b, 0, 128, true);
            new Call(a, b, 0, 0, 128, 0, 5, 40).check(gatun, result);
        }
    }

    private static ByteBuffer misaligned(AbstractTensor tensor) {
        MemorySegment memory = tensor.getMemorySegment();
        int bytes = (int) memory.byteSize();
        ByteBuffer copy = ByteBuffer.allocateDirect(bytes + 4);
        int start = (int) (5 - MemorySegment.ofBuffer(copy).address() % 4) % 4;
        ByteBuffer part = copy.slice(start, bytes).order(ByteOrder.nativeOrder());
        MemorySegment.ofBuffer(part).copyFrom(memory);
        return part;
    }

    @Test
    void severalWeights() {
        for (List<DType> pair : PAIRS) {
            AbstractTensor a = tensor(pair.get(0), 2, 256);
            AbstractTensor[] b = {tensor(pair.get(1), 64, 256), tensor(pair.get(1), 64, 256)};
            AbstractTensor[] results = {new FloatBufferTensor(2, 64), new FloatBufferTensor(2, 64)};
            gatun.dotProductBatchChunk(results, a, b, 0, 256, 16, 40);
            for (int i = 0; i < 2; i++) {
                FloatBufferTensor alone = new FloatBufferTensor(2, 64);
                new Call(a, b[i], 0, 0, 256, 0, 16, 40).check(gatun, alone);
                for (int n = 16; n < 56; n++) {
                    assertEquals(alone.get(1, n), results[i].get(1, n));
                }
            }
        }
    }

    /** Ranges on Jlama's threads, the tensor packed by whichever comes first: the bits of one call. */
    @Test
    void rangesOnManyThreadsGiveTheSameBits() throws InterruptedException {
        for (DType dtype : List.of(DType.F32, DType.I8)) {
            FloatBufferTensor values = Oracle.random(random, 500, SIZE);
            AbstractTensor a = tensor(dtype, 3, SIZE);
            FloatBufferTensor expected = new FloatBufferTensor(3, 500);
            gatun.batchDotProduct(expected, a, new Q4ByteBufferTensor(values), 0, 0, SIZE);

            AbstractTensor b = new Q4ByteBufferTensor(values);
            FloatBufferTensor result = new FloatBufferTensor(3, 500);
            VectorMath.pchunk(0, 500, (first, rows) -> gatun.dotProductChunk(result, a, b, 0, SIZE, first, rows));
            assertSameBits(expected, result);

            AbstractTensor c = new Q4ByteBufferTensor(values);
            FloatBufferTensor halves = new FloatBufferTensor(3, 500);
            Thread upper = Thread.ofPlatform().start(() -> gatun.dotProductChunk(halves, a, c, 0, SIZE, 237, 263));
            gatun.dotProductChunk(halves, a, c, 0, SIZE, 0, 237);
            upper.join();
            assertSameBits(expected, halves);
        }
    }

    private static void assertSameBits(AbstractTensor expected, AbstractTensor actual) {
        assertEquals(-1, expected.getMemorySegment().mismatch(actual.getMemorySegment()));
    }

    @Test
    void kernelsReadAndWriteJlamasMemory() {
        FloatBufferTensor a = Oracle.random(random, 2, 96);
        Q8ByteBufferTensor codes = new Q8ByteBufferTensor(a);
        Q4ByteBufferTensor b = (Q4ByteBufferTensor) tensor(DType.Q4, 32, 96);
        FloatBufferTensor result = new FloatBufferTensor(2, 64);
        var weights = new PackedTensors().of(b);
        Product floats = new Product(result, a, b, 0, 0, 96, 16, 0, 32);
        assertEquals(a.getMemorySegment().address(), floats.x().address());
        assertEquals(
                result.getMemorySegment().address() + 16 * 4,
                floats.y(weights, 0, 2).address());
        var quantized = new Product(result, codes, b, 0, 0, 96, 16, 0, 32).codes(codes, 0, 2);
        assertEquals(codes.getMemorySegment().address(), quantized.codes().address());
        assertEquals(
                codes.getBlockF().getMemorySegment().address(),
                quantized.scales().address());
    }

    @Test
    void packedWeightsGoWithTheirTensor() throws InterruptedException {
        PackedTensors tensors = new PackedTensors();
        Q4ByteBufferTensor b = (Q4ByteBufferTensor) tensor(DType.Q4, 32, 96);
        MemorySegment packed = tensors.of(b).segment();
        assertEquals(packed.address(), tensors.of(b).segment().address(), "packed once");
        assertEquals(1, tensors.size());
        assertTrue(packed.scope().isAlive());
        b = null;
        for (int i = 0; i < 100 && (tensors.size() > 0 || packed.scope().isAlive()); i++) {
            System.gc();
            Thread.sleep(20);
        }
        assertEquals(0, tensors.size());
        assertFalse(packed.scope().isAlive());
    }

    @Test
    void rowsThatAreNotFiniteAreNaNAlone() {
        FloatBufferTensor a = Oracle.random(random, 3, 96);
        a.set(Float.NaN, 1, 50);
        AbstractTensor b = tensor(DType.Q4, 32, 96);
        FloatBufferTensor result = new FloatBufferTensor(3, 32);
        gatun.batchDotProduct(result, a, b, 0, 0, 96);
        Q8ByteBufferTensor codes = new Q8ByteBufferTensor(Oracle.random(random, 3, 96));
        codes.getBlockF().set(Float.POSITIVE_INFINITY, 1, 2);
        FloatBufferTensor ofCodes = new FloatBufferTensor(3, 32);
        gatun.batchDotProduct(ofCodes, codes, b, 0, 0, 96);
        for (int n = 0; n < 32; n++) {
            for (FloatBufferTensor y : List.of(result, ofCodes)) {
                assertTrue(Float.isFinite(y.get(0, n)) && Float.isNaN(y.get(1, n)) && Float.isFinite(y.get(2, n)));
            }
        }
    }
}
