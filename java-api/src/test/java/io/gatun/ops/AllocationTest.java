package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import io.gatun.DType;
import io.gatun.Tensor;
import java.lang.management.ManagementFactory;
import java.time.Duration;
import java.util.Collections;
import java.util.List;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;

/** Once compiled, a call allocates nothing on the heap; or no more than it needs. */
class AllocationTest {
    private static final int CALLS = 10_000;
    private static final Duration PATIENCE = Duration.ofSeconds(20);

    private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();

    private static long bytesOf(Runnable call) {
        long before = THREADS.getCurrentThreadAllocatedBytes();
        for (int i = 0; i < CALLS; i++) {
            call.run();
        }
        return THREADS.getCurrentThreadAllocatedBytes() - before;
    }

    /** Repeats until the compiler is done, which takes longer on a busy machine. */
    private static void assertNone(String what, Runnable call) {
        long start = System.nanoTime();
        long bytes;
        do {
            bytes = bytesOf(call);
        } while (bytes >= CALLS / 10 && System.nanoTime() - start < PATIENCE.toNanos());
        assertTrue(bytes < CALLS / 10, what + " allocates " + bytes + " bytes in " + CALLS + " calls");
    }

    @Test
    void seesOneAllocationACall() {
        Object[] kept = new Object[1];
        for (int i = 0; i < 20; i++) {
            long bytes = bytesOf(() -> kept[0] = new Object());
            assertTrue(bytes >= 8L * CALLS, bytes + " bytes");
        }
    }

    @Test
    void qmatmul() {
        Tensor x = Tensor.allocate(DType.F32, 2, 32);
        PackedWeights w = QMatmul.pack(Tensor.allocate(DType.F32, 16, 32), QuantSpec.int8());
        Tensor y = Tensor.allocate(DType.F32, 2, 16);
        QMatmul.Options options = QMatmul.Options.DEFAULT
                .withBias(Tensor.allocate(DType.F32, 16))
                .withResidual(y)
                .withActivation(QMatmul.Activation.GELU)
                .withThreads(1);
        assertNone("QMatmul.run", () -> QMatmul.run(x, w, y, options));
    }

    @Test
    void qmatmulWithSeveralWeights() {
        Tensor x = Tensor.allocate(DType.F32, 3, 32);
        PackedWeights w = QMatmul.pack(Tensor.allocate(DType.F32, 16, 32), QuantSpec.int8());
        PackedStack stack = PackedStack.of(List.of(w, w, w));
        Tensor concat = Tensor.allocate(DType.F32, 3, 48);
        Tensor grouped = Tensor.allocate(DType.F32, 3, 16);
        long[] rows = {1, 0, 2};
        QMatmul.Options options = QMatmul.Options.DEFAULT.withThreads(1);
        assertNone("QMatmul.run of a stack", () -> QMatmul.run(x, stack, concat, options));
        assertNone("QMatmul.runGrouped", () -> QMatmul.runGrouped(x, rows, stack, grouped, options));
    }

    @Test
    void quantize() {
        Tensor x = Tensor.allocate(DType.F32, 2, 32);
        QuantizedTensor out = QuantizedTensor.allocate(QuantSpec.int4Asymmetric(16), 2, 32);
        Quantize.Options options = Quantize.Options.DEFAULT.withThreads(1);
        assertNone("Quantize.run", () -> Quantize.run(x, out, options));
        assertNone("Quantize.dequantize", () -> Quantize.dequantize(out, x, 1));
    }

    /** Formats of every kind: a code book, floats with scales of each kind, blocks of files. */
    @Test
    void formats() {
        Tensor x = Tensor.allocate(DType.F32, 2, 256);
        Quantize.Options options = Quantize.Options.DEFAULT.withThreads(1);
        QMatmul.Options alone = QMatmul.Options.DEFAULT.withThreads(1);
        for (QuantSpec spec : List.of(
                QuantSpec.nf4(64),
                QuantSpec.fp8(DType.F8E4M3).withBlocks(128, 128),
                QuantSpec.mxfp4(),
                QuantSpec.gguf(GgufType.Q8_0),
                QuantSpec.gguf(GgufType.Q4_K))) {
            QuantizedTensor out = QuantizedTensor.allocate(spec, 2, 256);
            assertNone("Quantize.run to " + spec, () -> Quantize.run(x, out, options));
            assertNone("Quantize.dequantize of " + spec, () -> Quantize.dequantize(out, x, 1));
            PackedWeights w = QMatmul.pack(out);
            Tensor y = Tensor.allocate(DType.F32, 2, 2);
            assertNone("QMatmul.run by " + spec, () -> QMatmul.run(x, w, y, alone));
        }
    }

    @Test
    void qmatmulOfQuantizedRows() {
        QuantSpec fp8 = QuantSpec.fp8(DType.F8E4M3);
        QuantizedTensor x = Quantize.run(Tensor.allocate(DType.F32, 2, 256), fp8.withGroup(128));
        PackedWeights w = QMatmul.pack(Tensor.allocate(DType.F32, 16, 256), fp8.withBlocks(128, 128));
        Tensor y = Tensor.allocate(DType.F32, 2, 16);
        QMatmul.Options options = QMatmul.Options.DEFAULT.withThreads(1);
        assertNone("QMatmul.run of FP8 rows", () -> QMatmul.run(x, w, y, options));
    }

    @Test
    void norm() {
        Tensor x = Tensor.allocate(DType.F32, 2, 32);
        Tensor weight = Tensor.allocate(DType.F32, 32);
        assertNone("Norm.layer", () -> Norm.layer(x, weight, weight, 1e-5f, x, 1));
    }

    @Test
    void sparse() {
        Tensor x = Tensor.allocate(DType.F32, 2, 32);
        Tensor y = Tensor.allocate(DType.F32, 2, 16);
        Mask mask = Mask.allocate(2, 32);
        assertNone("Mask.apply", () -> mask.apply(x, x, 1));
        SparseTensor sparse = SparseTensor.compress(Tensor.allocate(DType.F32, 16, 32), Sparsity.nm(2, 4));
        Tensor dense = Tensor.allocate(DType.F32, 16, 32);
        assertNone("Prune.compress", () -> Prune.compress(dense, Prune.Score.magnitude(), sparse, 1));
        NmWeights w = NmMatmul.pack(sparse);
        QMatmul.Options options = QMatmul.Options.DEFAULT
                .withBias(Tensor.allocate(DType.F32, 16))
                .withResidual(y)
                .withActivation(QMatmul.Activation.GELU)
                .withThreads(1);
        assertNone("NmMatmul.run", () -> NmMatmul.run(x, w, y, options));
        Tensor blocks = Tensor.allocate(DType.F32, 4 * 16);
        Armor.Weights armor = new Armor.Weights(4, blocks, w, Tensor.allocate(DType.F32, 8 * 16));
        assertNone("Armor.run", () -> Armor.run(x, armor, y, options));
        NmBackward.Options alone = NmBackward.Options.DEFAULT.withThreads(1);
        Tensor dvalues = Tensor.allocate(DType.F32, 16, 16);
        Tensor dw = Tensor.allocate(DType.F32, 16, 32);
        Tensor dx = Tensor.allocate(DType.F32, 2, 32);
        assertNone("NmBackward.x", () -> NmBackward.x(y, sparse, dx, alone));
        assertNone("NmBackward.values", () -> NmBackward.values(y, x, sparse, dvalues, alone));
        assertNone("NmBackward.dense", () -> NmBackward.dense(y, x, sparse, 0.5f, dw, alone));
    }

    @Test
    void attention() {
        Tensor x = Tensor.allocate(DType.F32, 1, 2, 40, 16);
        Tensor out = Tensor.allocate(DType.F32, 1, 2, 40, 16);
        Tensor lse = Tensor.allocate(DType.F32, 1, 2, 40);
        Attention.Options options = Attention.Options.DEFAULT
                .withCausal()
                .withSlopes(Attention.alibiSlopes(2))
                .withLse(lse)
                .withMask(BlockMask.random(new BlockGrid(40, 40, 16, 16), 1, 2, 0.5, true, 1))
                .withThreads(1);
        assertNone("Attention.run", () -> Attention.run(x, x, x, out, options));
        assertNone("Attention.merge", () -> Attention.merge(out, lse, x, lse, out, null, 1));
        Tensor flat = x.reshape(2, 40, 16);
        Tensor flatOut = out.reshape(2, 40, 16);
        Sequences items = Sequences.of(new int[] {0, 10, 40}, new int[] {0, 30, 40});
        Attention.Options ragged =
                Attention.Options.DEFAULT.withSequences(items).withThreads(1);
        assertNone("Attention.run of sequences", () -> Attention.run(flat, flat, flat, flatOut, ragged));
        Attention.Options selected = Attention.Options.DEFAULT
                .withSelection(Selection.means().withBlocks(16, 16))
                .withThreads(1);
        assertNone("Attention.run with a selection", () -> Attention.run(x, x, x, out, selected));
    }

    @Test
    void decode() {
        for (KvFormat format : List.of(KvFormat.BF16, KvFormat.int4(0).perChannel(16))) {
            try (KvPool pool = KvPool.allocate(format, 1, 4, 16, 16)) {
                long[] slots = LongStream.range(16, 32).toArray();
                Tensor x = Tensor.allocate(DType.F32, 1, 16, 16);
                assertNone("KvPool.write of " + format, () -> pool.write(x, slots, 1));
                assertNone("KvPool.read of " + format, () -> pool.read(slots, x, 1));
                assertNone("KvPool.move of " + format, () -> pool.move(slots, slots));
                Tensor q = Tensor.allocate(DType.F32, 1, 2, 1, 16);
                Tensor out = Tensor.allocate(DType.F32, 1, 2, 1, 16);
                Tensor lse = Tensor.allocate(DType.F32, 1, 2, 1);
                Tensor logits = Tensor.allocate(DType.F32, 1, 2, 1, 40);
                Tensor table = Tensor.of(new int[] {2, 0}, 1, 1, 2);
                long[] lengths = {20};
                Decode.Options options = Decode.Options.DEFAULT
                        .withCausal()
                        .withSlopes(Attention.alibiSlopes(2))
                        .withLse(lse)
                        .withLogits(logits)
                        .withThreads(1);
                assertNone("Decode.run on " + format, () -> Decode.run(q, pool, pool, table, lengths, out, options));
                assertNone("Decode.logits on " + format, () -> Decode.logits(q, pool, table, lengths, options));
            }
        }
        Tensor logits = Tensor.allocate(DType.F32, 1, 2, 1, 20);
        Tensor lse = Tensor.allocate(DType.F32, 1, 2, 1);
        Tensor scores = Tensor.allocate(DType.F32, 1, 1, 20);
        Tensor table = Tensor.of(new int[] {2, 0}, 1, 1, 2);
        Tensor chosen = Tensor.allocate(DType.I32, 1, 1, 1);
        long[] lengths = {20};
        long[] left = new long[1];
        assertNone("Decode.scores", () -> Decode.scores(logits, lse, lengths, scores, true, 1));
        assertNone("Decode.choose", () -> Decode.choose(scores, table, lengths, 16, 1, 0, 1, chosen, left, 1));
    }

    @Test
    void permute() {
        Tensor x = Tensor.allocate(DType.F32, 2, 32);
        Tensor permutation = Tensor.allocate(DType.I32, 32);
        Tensor out = Tensor.allocate(DType.F32, 2, 32);
        assertNone("Packing.permute", () -> Packing.permute(x, permutation, out, 1));
    }

    @Test
    void optimizer() {
        for (Optimizer.State state : Optimizer.State.values()) {
            Parameter small = Parameter.of("small", Tensor.allocate(DType.F32, 5));
            Parameter large = Parameter.of("large", Tensor.allocate(DType.BF16, 20, 10));
            Optimizer.Options options = Optimizer.Options.of(Optimizer.Rule.ADEMAMIX)
                    .withMin8bitSize(100)
                    .withSchedule(1_000_000, 1_000_000)
                    .withStochasticRounding(3)
                    .withThreads(1);
            Optimizer optimizer = Optimizer.of(options, state, small, large);
            assertNone("Optimizer.step on " + state, optimizer::step);
            assertNone("Optimizer.step on " + state + ", unscaled", () -> optimizer.step(0.5f));
            assertNone("Optimizer.stepClipped on " + state, () -> optimizer.stepClipped(1, 1024));
            assertNone("Optimizer.gradientNorm", optimizer::gradientNorm);
        }
    }

    /** Scores are counted by their bits for all layers at once: counts for each layer are 256 KB or more of each. */
    @Test
    void lampSparsitiesOfManyLayers() {
        List<Tensor> layers = Collections.nCopies(500, Tensor.of(new float[] {1, 2, 3, 4}, 2, 2));
        long before = THREADS.getCurrentThreadAllocatedBytes();
        Prune.lampSparsities(layers, 0.5);
        long bytes = THREADS.getCurrentThreadAllocatedBytes() - before;
        assertTrue(bytes < 20L << 20, bytes + " bytes");
    }
}
