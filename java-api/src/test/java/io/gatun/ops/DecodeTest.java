package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Attention.Mode;
import io.gatun.ops.Decode.Options;
import java.util.Arrays;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** Every format of keys and of values, every option, pages in every order, against {@link DecodeOracle}. */
class DecodeTest {
    private static void runAndCheck(DecodeProblem p) {
        p.run();
        p.check(p.toString());
    }

    @Test
    @Tag("tier")
    void formats() {
        int seed = 0;
        for (KvFormat keys : KvOracle.formats()) {
            for (KvFormat values : KvOracle.formats()) {
                try (DecodeProblem p = new DecodeProblem(new Random(seed++))) {
                    p.keyFormat = keys;
                    p.valueFormat = values;
                    p.options = p.options.withMode(Mode.values()[seed % 2]);
                    p.allocate();
                    runAndCheck(p);
                }
            }
        }
    }

    @Test
    @Tag("tier")
    void options() {
        for (int seed = 1000; seed < 1250; seed++) {
            try (DecodeProblem p = new DecodeProblem(new Random(seed))) {
                p.allocate();
                p.addOptions();
                if (seed % 5 == 0) {
                    p.dropValues();
                }
                runAndCheck(p);
            }
        }
    }

    /** Keys are cut into parts that are merged; threads and the places of pages change no bit. */
    @Test
    @Tag("tier")
    void manyKeys() {
        KvFormat[] formats = {
            KvFormat.BF16, KvFormat.int8(), KvFormat.int4(32), KvFormat.int2(0).perChannel(32)
        };
        for (int n = 0; n < formats.length; n++) {
            try (DecodeProblem p = new DecodeProblem(new Random(2000 + n))) {
                p.batch = 2;
                p.heads = 1;
                p.queryHeads = 3;
                p.queries = 2;
                p.pageSize = 32;
                p.pagesOfItem = 90;
                p.keySize = 32;
                p.valueSize = 40;
                p.paged = true;
                p.keyFormat = formats[n];
                p.valueFormat = formats[formats.length - 1 - n];
                p.allocate();
                p.lengths[0] = 1025;
                p.lengths[1] = 90 * 32 - 5;
                p.longest = 90 * 32;
                pageOrder(p, p.random);
                p.addOptions();
                p.options = p.options.withThreads(1);
                runAndCheck(p);
                float[] alone = p.out.toFloatArray();
                p.options = p.options.withThreads(4);
                p.run();
                assertArrayEquals(alone, p.out.toFloatArray(), "threads");
            }
        }
    }

    /** Each item gets pages of its own, in any order. */
    private static void pageOrder(DecodeProblem p, Random random) {
        int[] entries = IntStream.range(0, (int) p.table.shape().elements()).toArray();
        for (int n = entries.length - 1; n > 0; n--) {
            int other = random.between(0, n);
            int entry = entries[n];
            entries[n] = entries[other];
            entries[other] = entry;
        }
        p.table = Tensor.of(entries, p.table.shape().toArray());
    }

    /** A cache in one piece, and the same rows on pages here and there. */
    @Test
    void pagesOrOnePiece() {
        int heads = 2;
        int length = 70;
        int size = 24;
        Random random = new Random(5);
        Tensor keys = Tensor.of(random.normal(heads * length * size, 1), heads, length, size);
        Tensor values = Tensor.of(random.normal(heads * length * size, 1), heads, length, size);
        Tensor q = Tensor.of(random.normal(4 * size, 1), 1, 4, 1, size);
        for (KvFormat format : new KvFormat[] {KvFormat.F32, KvFormat.F16, KvFormat.int8(), KvFormat.int4(16)}) {
            Tensor whole = Tensor.allocate(DType.F32, 1, 4, 1, size);
            try (KvPool k = KvPool.allocate(format, heads, 1, 80, size);
                    KvPool v = KvPool.allocate(format, heads, 1, 80, size)) {
                long[] slots = LongStream.range(0, length).toArray();
                k.write(keys, slots);
                v.write(values, slots);
                Decode.run(q, k, v, null, new long[] {length}, whole);
            }
            int[] pages = {7, 0, 3, 9, 4};
            Tensor paged = Tensor.allocate(DType.F32, 1, 4, 1, size);
            try (KvPool k = KvPool.allocate(format, heads, 10, 16, size);
                    KvPool v = KvPool.allocate(format, heads, 10, 16, size)) {
                long[] slots = LongStream.range(0, length)
                        .map(j -> pages[(int) j / 16] * 16L + j % 16)
                        .toArray();
                k.write(keys, slots);
                v.write(values, slots);
                Decode.run(q, k, v, Tensor.of(pages, 1, 1, 5), new long[] {length}, paged);
            }
            assertArrayEquals(whole.toFloatArray(), paged.toFloatArray(), format.toString());
            // What an engine without a cache of ours computes.
            Tensor dense = Tensor.allocate(DType.F32, 1, 4, 1, size);
            Attention.run(q, keys.reshape(1, heads, length, size), values.reshape(1, heads, length, size), dense);
            double off =
                    format == KvFormat.F32 ? 1e-6 : format == KvFormat.F16 ? 1e-3 : format.group() == 0 ? 0.03 : 0.3;
            assertArrayEquals(dense.toFloatArray(), whole.toFloatArray(), (float) off, format.toString());
        }
    }

    @Test
    void nothing() {
        try (DecodeProblem p = new DecodeProblem(new Random(3))) {
            p.paged = true;
            p.allocate();
            Arrays.fill(p.lengths, 0);
            p.options = Options.DEFAULT.withLse(p.sums()).withLogits(p.logits());
            runAndCheck(p);
            p.options = p.options.withSinks(p.perHead(1));
            runAndCheck(p);
        }
        try (KvPool pool = KvPool.allocate(KvFormat.int8(), 2, 0, 16, 32)) {
            Tensor none = Tensor.allocate(DType.F32, 0, 4, 1, 32);
            Decode.run(none, pool, pool, null, new long[0], none);
            Tensor table = Tensor.allocate(DType.I32, 1, 1, 0);
            Tensor q = Tensor.of(new Random(1).normal(4 * 32, 1), 1, 4, 1, 32);
            Tensor out = Tensor.of(new Random(2).normal(4 * 32, 1), 1, 4, 1, 32);
            Decode.run(q, pool, pool, table, new long[1], out);
            assertArrayEquals(new float[4 * 32], out.toFloatArray());
        }
    }

    /**
     * KV-AdaQuant: of the same bytes, more bits for keys than for values leave a smaller error where keys have the
     * larger norms.
     */
    @Test
    void keysNeedMoreBitsThanValues() {
        int heads = 4;
        int length = 256;
        int size = 128;
        Random random = new Random(11);
        Tensor keys = Tensor.of(random.normal(heads * length * size, 4), heads, length, size);
        Tensor values = Tensor.of(random.normal(heads * length * size, 1), heads, length, size);
        Tensor q = Tensor.of(random.normal(heads * 4 * size, 1), 1, heads, 4, size);
        float[] exact = decoded(q, keys, values, KvFormat.F32, KvFormat.F32);
        KvFormat four = KvFormat.int4(32);
        KvFormat two = KvFormat.int2(32);
        double k4v2 = distance(exact, decoded(q, keys, values, four, two));
        double k2v4 = distance(exact, decoded(q, keys, values, two, four));
        double k4v4 = distance(exact, decoded(q, keys, values, four, four));
        assertTrue(k4v2 < 0.6 * k2v4, k4v2 + " with 4 bits for keys, " + k2v4 + " with 2");
        assertTrue(k4v4 < 0.6 * k4v2, k4v4 + " with 4 bits for both, " + k4v2);
    }

    private static float[] decoded(Tensor q, Tensor keys, Tensor values, KvFormat ofKeys, KvFormat ofValues) {
        int heads = (int) keys.shape().size(0);
        int length = (int) keys.shape().size(1);
        int size = (int) keys.shape().size(2);
        long[] slots = LongStream.range(0, length).toArray();
        Tensor out = Tensor.allocate(DType.F32, q.shape().toArray());
        try (KvPool k = KvPool.allocate(ofKeys, heads, 1, length, size);
                KvPool v = KvPool.allocate(ofValues, heads, 1, length, size)) {
            k.write(keys, slots);
            v.write(values, slots);
            Decode.run(q, k, v, null, new long[] {length}, out);
        }
        return out.toFloatArray();
    }

    /** Relative, in the norm of all. */
    private static double distance(float[] exact, float[] other) {
        double error = 0;
        double norm = 0;
        for (int n = 0; n < exact.length; n++) {
            error += Math.pow(exact[n] - other[n], 2);
            norm += Math.pow(exact[n], 2);
        }
        return Math.sqrt(error / norm);
    }

    @Test
    void explain() {
        try (DecodeProblem p = new DecodeProblem(new Random(4))) {
            p.allocate();
            String all = Decode.explain(p.q, p.k, p.v, p.table, p.lengths, p.out, p.options);
            assertTrue(all.contains("decode_keys_") && all.contains("decode_values_"), all);
            p.options = p.options.withLse(p.sums());
            String keys = Decode.explain(p.q, p.k, null, p.table, p.lengths, null, p.options);
            assertTrue(keys.contains("decode_keys_") && !keys.contains("decode_values_"), keys);
        }
    }
}
