package io.gatun.ops;

import static io.gatun.ops.RandomArguments.elsewhere;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Packing.Format;
import io.gatun.ops.Packing.Planes;
import io.gatun.ops.Packing.Sorted;
import io.gatun.ops.QuantSpec.ZeroPoint;
import java.util.Arrays;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;

/** At least 10,000 random calls of each direction, about half of them invalid by one flaw drawn at random. */
class RandomPackingTest {
    @Test
    void read() {
        RandomCalls.run("packing read", random -> new Reading(random).call());
    }

    @Test
    void write() {
        RandomCalls.run("packing write", random -> new Writing(random).call());
    }

    /** The same elements as a vector, which is allowed, or as they are. */
    private static Tensor perhapsFlat(Random random, Tensor plane) {
        return random.chance(0.3) ? plane.reshape(plane.shape().elements()) : plane;
    }

    private static final class Reading extends RandomCall {
        private final RandomPacking packing = new RandomPacking(random);
        private final Format format = packing.format;
        private final boolean sorted = packing.hasGroupIndex() && random.chance(0.4);
        private QuantSpec spec = packing.spec;
        private long rows = packing.rows;
        private Tensor codes;
        private Tensor scales;
        private Tensor zeros;
        private Tensor groupIndex;
        private QuantizedTensor weights;
        private Tensor permutation;

        Reading(Random random) {
            super(random);
            PackingShapes shapes = new PackingShapes(format, spec, rows, packing.depth);
            codes = perhapsFlat(random, bytes(shapes.codeType(), shapes.codes()));
            int count = (int)
                    Tensor.allocate(packing.floats, shapes.scales()).shape().elements();
            scales = perhapsFlat(random, Tensor.of(packing.floats, packing.scales(count), shapes.scales()));
            if (spec.zeroPoint() == ZeroPoint.FLOAT) {
                DType dtype = packing.floats;
                zeros = perhapsFlat(random, Tensor.of(dtype, random.normal(count, 1), shapes.zeroPoints()));
            } else if (shapes.zeroPoints() != null) {
                zeros = perhapsFlat(random, bytes(shapes.zeroType(null), shapes.zeroPoints()));
                if (spec.zeroPoint() == ZeroPoint.NONE) {
                    zeros.segment().fill(middles());
                }
            }
            if (sorted) {
                int[] order = packing.order();
                int group = (int) spec.groupOf(packing.depth);
                groupIndex = Tensor.of(
                        Arrays.stream(order).map(place -> place / group).toArray(), packing.depth);
            }
        }

        /** Zero points 2^(bits - 1) side by side, of GPTQ less 1. */
        private byte middles() {
            int bits = spec.codes().bits();
            int middle = (1 << bits - 1) - (format == Format.GPTQ ? 1 : 0);
            int all = 0;
            for (int at = 0; at < 8; at += bits) {
                all |= middle << at;
            }
            return (byte) all;
        }

        private Tensor bytes(DType dtype, long... shape) {
            Tensor tensor = Tensor.allocate(dtype, shape);
            for (long i = 0; i < tensor.segment().byteSize(); i++) {
                tensor.segment().set(JAVA_BYTE, i, (byte) random.between(-128, 127));
            }
            return tensor;
        }

        @Override
        String describe() {
            return packing + (sorted ? " sorted" : "");
        }

        @Override
        int lastFlaw() {
            return 6;
        }

        @Override
        void spoil(int flaw) {
            switch (flaw) {
                case 0 -> codes = random.of(elsewhere(random, codes), null, wrong(codes));
                case 1 -> scales = random.of(elsewhere(random, scales), null, Tensor.allocate(DType.I8, 1, 1));
                case 2 -> {
                    if (scales.shape().elements() == 0) {
                        rows = -1;
                    } else {
                        Tensor flat = scales.reshape(scales.shape().elements());
                        int at = random.between(0, (int) flat.shape().elements() - 1);
                        flat.setFloat(random.of(Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY), at);
                    }
                }
                case 3 -> rows = random.of(-1L, Long.MIN_VALUE, Long.MAX_VALUE, 1L << 52, rows + 1);
                case 4 -> spec = packing.wrongSpec();
                case 5 -> zeros = zeros == null ? Tensor.allocate(DType.U8, 1) : null;
                default -> {
                    Tensor index = Tensor.allocate(DType.I32, packing.depth);
                    if (packing.hasGroupIndex()) {
                        index.setFloat(random.of(-1, 1 << 20), random.between(0, packing.depth - 1));
                        index = random.of(
                                index, elsewhere(random, index), Tensor.allocate(DType.I32, packing.depth + 1));
                    }
                    groupIndex = index;
                }
            }
        }

        private Tensor wrong(Tensor good) {
            return random.of(
                    Tensor.allocate(DType.F32, good.shape().toArray()),
                    Tensor.allocate(good.dtype(), good.shape().elements() + 1));
        }

        @Override
        void run() {
            Planes planes = new Planes(codes, scales, zeros, groupIndex);
            if (sorted) {
                Sorted read = Packing.readSorted(format, spec, rows, packing.depth, planes);
                weights = read.weights();
                permutation = read.permutation();
            } else {
                weights = Packing.read(format, spec, rows, packing.depth, planes);
            }
        }

        @Override
        Consumer<String> expected() {
            PackingOracle oracle = new PackingOracle(
                    format, spec, packing.rows, packing.depth, new Planes(codes, scales, zeros, groupIndex));
            return context -> {
                Decoder read = new Decoder(weights);
                int last = -1;
                for (int j = 0; j < packing.depth; j++) {
                    int k = sorted ? permutation.getInt(j) : j;
                    if (sorted) { // ascending groups, in each the order of k
                        int key = groupIndex.getInt(k) * packing.depth + k;
                        assertTrue(key > last, context);
                        last = key;
                    }
                    for (int row = 0; row < packing.rows; row++) {
                        int group = sorted ? groupIndex.getInt(k) : oracle.groupOf(row, k);
                        float wanted = oracle.value(row, k, group);
                        assertEquals(wanted + 0f, read.value(row, j) + 0f, "[" + row + ", " + j + "]: " + context);
                    }
                }
            };
        }

        @Override
        boolean unchanged() {
            return true; // what is read is new memory
        }
    }

    private static final class Writing extends RandomCall {
        private final RandomPacking packing = new RandomPacking(random);
        private Format format = packing.format;
        private DType floats = packing.floats;
        private QuantizedTensor weights;
        private Tensor permutation;
        private Planes planes;

        Writing(Random random) {
            super(random);
            boolean wide = format == Format.MATMUL_NBITS && packing.spec.group() > packing.depth;
            QuantSpec spec = wide ? packing.spec.withGroup(0) : packing.spec;
            weights = QMatmulOracle.exactWeights(random.source, spec, packing.rows, packing.depth);
            weights.scales()
                    .copyFrom(packing.scales((int) weights.scales().shape().elements()));
            if (packing.hasGroupIndex() && random.chance(0.4)) {
                permutation = Tensor.of(packing.order(), packing.depth);
            }
        }

        private QuantizedTensor with(Tensor codes, Tensor scales) {
            return new QuantizedTensor(
                    weights.spec(), weights.shape(), codes, scales, weights.zeroPoints(), null, null);
        }

        @Override
        String describe() {
            return packing + (permutation == null ? "" : " sorted");
        }

        @Override
        int lastFlaw() {
            return 4;
        }

        @Override
        void spoil(int flaw) {
            switch (flaw) {
                case 0 -> floats = random.of(DType.I8, DType.F8E4M3, null);
                case 1 -> {
                    Tensor scales = weights.scales();
                    if (scales.shape().elements() == 0) {
                        format = null;
                    } else {
                        long rows = scales.shape().size(0);
                        long columns = scales.shape().size(1);
                        float bad = random.of(Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY);
                        scales.setFloat(bad, random.source.nextLong(rows), random.source.nextLong(columns));
                    }
                }
                case 2 ->
                    weights = random.of(
                            with(elsewhere(random, weights.codes()), weights.scales()),
                            with(weights.codes(), elsewhere(random, weights.scales())));
                case 3 ->
                    weights = QuantizedTensor.allocate(
                            random.of(
                                    QuantSpec.fp8(DType.F8E4M3), QuantSpec.gguf(GgufType.Q8_0), QuantSpec.dynamic8(64)),
                            4,
                            64);
                default -> {
                    // All 0, or beyond; of one element that would be an order.
                    if (packing.depth == 1) {
                        weights = null;
                    } else {
                        permutation = Tensor.allocate(DType.I32, packing.depth);
                        permutation.setFloat(random.of(-1, 0, packing.depth), packing.depth - 1);
                    }
                }
            }
        }

        @Override
        void run() {
            if (permutation == null) {
                planes = Packing.write(format, weights, floats);
            } else {
                planes = Packing.write(format, new Sorted(weights, permutation), floats);
            }
        }

        @Override
        Consumer<String> expected() {
            Decoder given = new Decoder(weights);
            QuantSpec spec = weights.spec();
            return context -> {
                PackingOracle oracle = new PackingOracle(format, spec, packing.rows, packing.depth, planes);
                for (int j = 0; j < packing.depth; j++) {
                    int k = permutation == null ? j : permutation.getInt(j);
                    if (packing.hasGroupIndex()) {
                        assertEquals(oracle.groupOf(0, j), planes.groupIndex().getInt(k), context);
                    }
                    for (int row = 0; row < packing.rows; row++) {
                        check(given, oracle, row, j, k, "[" + row + ", " + k + "]: " + context);
                    }
                }
            };
        }

        private void check(Decoder given, PackingOracle oracle, int row, int j, int k, String context) {
            int i = row * packing.depth + j;
            int group = oracle.groupOf(row, j);
            if (weights.spec().zeroPoint() == ZeroPoint.FLOAT) {
                int flip = format == Format.TORCHAO ? 8 : 0;
                assertEquals((int) given.codes[i], oracle.stored(row, k) ^ flip, context);
                assertEquals(given.scales[i], oracle.scale(row, group), context);
                float zero = PackingOracle.floatZeroOf(format, given.offsets[i], given.scales[i], floats);
                assertEquals(zero + 0f, oracle.floatZero(row, group) + 0f, context);
            } else {
                assertEquals(given.value(row, j) + 0f, oracle.value(row, k, group) + 0f, context);
            }
        }

        @Override
        boolean unchanged() {
            return true; // what is written is new memory
        }
    }
}
