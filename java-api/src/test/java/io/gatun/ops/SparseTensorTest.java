package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class SparseTensorTest {
    private static final int[][] SHAPES = {{0, 8}, {5, 0}, {1, 1}, {1, 7}, {4, 16}, {3, 33}, {6, 64}, {9, 70}, {7, 131}
    };

    static Stream<Sparsity.Nm> patterns() {
        List<Sparsity.Nm> all = new ArrayList<>();
        for (int m : new int[] {2, 4, 8, 16, 32}) {
            for (int n = 1; n <= m; n += m > 8 ? 5 : 1) {
                all.add(Sparsity.nm(n, m));
            }
            all.add(Sparsity.nm(m, m));
            all.add(Sparsity.nm(m / 2, m).withVector(4));
        }
        return all.stream();
    }

    static List<QuantSpec> specs(int depth) {
        List<QuantSpec> all = new ArrayList<>(List.of(QuantSpec.int8(), QuantSpec.int4(), QuantSpec.int4Asymmetric()));
        if (depth >= 32) {
            all.add(QuantSpec.int8(32));
            all.add(QuantSpec.int4(32));
            all.add(QuantSpec.int4Asymmetric(17));
        }
        return all;
    }

    /** Every float, codes of every kind: positions, values and back. */
    @ParameterizedTest
    @MethodSource("patterns")
    @Tag("tier")
    void keepsWhatTheMaskKeeps(Sparsity.Nm pattern) {
        Random random = new Random(101);
        for (int[] shape : SHAPES) {
            boolean[] bits = NmOracle.randomMask(random, shape[0], shape[1], pattern);
            Mask mask = Mask.of(bits, shape[0], shape[1]);
            int[][] indices = NmOracle.indicesOf(bits, shape[0], shape[1], pattern);
            float[] values = random.normal(shape[0] * shape[1], 1);
            for (DType dtype : List.of(DType.F32, DType.F16, DType.BF16)) {
                Tensor dense = Tensor.of(dtype, values, shape[0], shape[1]);
                SparseTensor sparse = SparseTensor.compress(dense, mask, pattern);
                String context = sparse.toString();
                assertPositions(sparse, indices, bits, context);
                assertSameBytes(NmOracle.compress(dense, bits, pattern), sparse);
                float[] expected = dense.toFloatArray();
                for (int i = 0; i < expected.length; i++) {
                    expected[i] = bits[i] ? expected[i] : 0;
                }
                assertArrayEquals(expected, NmOracle.values(sparse), context);
                assertArrayEquals(expected, sparse.decompress().toFloatArray(), context);
                if (pattern.vector() == 1) {
                    SparseTensor again = SparseTensor.compress(sparse.decompress(), pattern);
                    assertSameBytes(sparse, again);
                }
            }
            for (QuantSpec spec : specs(shape[1])) {
                QuantizedTensor dense = Quantize.run(Tensor.of(values, shape[0], shape[1]), spec);
                SparseTensor sparse = SparseTensor.compress(dense, mask, pattern);
                assertPositions(sparse, indices, bits, sparse.toString());
                assertCodes(dense, sparse, bits);
                assertSameBytes(NmOracle.compress(dense, bits, pattern), sparse);
            }
        }
    }

    static void assertSameBytes(SparseTensor expected, SparseTensor given) {
        assertEquals(expected.pattern(), given.pattern());
        assertEquals(expected.shape(), given.shape());
        QuantizeTest.assertSameBytes(expected.values(), given.values());
        QuantizeTest.assertSameBytes(expected.indices(), given.indices());
        if (expected.spec() != null) {
            QuantizeTest.assertSameBytes(expected.scales(), given.scales());
        }
        if (expected.zeroPoints() != null) {
            QuantizeTest.assertSameBytes(expected.zeroPoints(), given.zeroPoints());
        }
    }

    private static void assertPositions(SparseTensor sparse, int[][] indices, boolean[] bits, String context) {
        assertArrayEquals(indices, NmOracle.indices(sparse), context);
        assertTrue(NmOracle.unusedBitsAreZero(sparse.indices()), context);
        sparse.check();
        boolean[] kept = NmOracle.mask(sparse);
        for (int i = 0; i < bits.length; i++) {
            assertTrue(kept[i] || !bits[i], context);
        }
        Mask mask = sparse.mask();
        for (int i = 0; i < bits.length; i++) {
            assertEquals(kept[i], mask.get(i / sparse.depth(), i % sparse.depth()), context);
        }
    }

    /** Kept codes and codes of 0, and the scales of the dense weights. */
    private static void assertCodes(QuantizedTensor dense, SparseTensor sparse, boolean[] bits) {
        QuantizedTensor back = sparse.decompressCodes();
        double[] given = new Decoder(back).codes;
        double[] expected = new Decoder(dense).codes;
        for (int i = 0; i < bits.length; i++) {
            expected[i] = bits[i] ? expected[i] : 0;
        }
        assertArrayEquals(expected, given, sparse.toString());
        assertArrayEquals(expected, new Decoder(NmOracle.codes(sparse)).codes, sparse.toString());
        QuantizeTest.assertSameBytes(dense.scales(), back.scales());
        assertEquals(dense.spec(), back.spec());
        if (sparse.values().dtype() == DType.U4) {
            assertTrue(NmOracle.unusedBitsAreZero(sparse.values()), sparse.toString());
        }
    }

    /** A kept weight that is 0, or becomes code 0, stays kept. */
    @Test
    void keepsZerosThatTheMaskKeeps() {
        Mask mask = Mask.of(new boolean[] {false, true, true, false}, 1, 4);
        Tensor weights = Tensor.of(new float[] {5, 0, 1, 7}, 1, 4);
        Sparsity.Nm pattern = Sparsity.nm(2, 4);
        SparseTensor floats = SparseTensor.compress(weights, mask, pattern);
        assertArrayEquals(new int[][] {{1, 2}}, NmOracle.indices(floats));
        assertArrayEquals(new float[] {0, 1}, floats.values().toFloatArray());
        SparseTensor codes = SparseTensor.compress(Quantize.run(weights, QuantSpec.int8()), mask, pattern);
        assertEquals(2, codes.mask().count());
        assertEquals(0x9, floats.indices().segment().get(JAVA_BYTE, 0)); // the metadata's nibble of positions 1 and 2
    }

    @Test
    void describesItself() {
        Tensor dense = Tensor.allocate(DType.BF16, 3, 16);
        SparseTensor sparse = SparseTensor.compress(dense, Sparsity.nm(2, 4));
        assertEquals("sparse[3, 16] 2:4 bf16", sparse.toString());
        assertEquals(3 * 8 * 2 + 3 * 2, sparse.byteSize());
        assertTrue(sparse.explain().contains("nm"), sparse.explain());
        Mask mask = Mask.allocate(3, 16);
        SparseTensor int8 = SparseTensor.compress(
                QuantizedTensor.allocate(QuantSpec.int8(), 3, 16),
                mask,
                Sparsity.nm(1, 8).withVector(2));
        assertEquals("sparse[3, 16] 2:1:8 i8 per row, f32 scales", int8.toString());
        assertEquals(3 * 2 + 2 + 3 * 4, int8.byteSize());
    }

    // ---- sparse tensor cores ---------------------------------------------------------------------------------------

    /** CUTLASS's order: rows that one instruction reads together lie together, 2 x 2 words swapped across. */
    private static int sm80Word(int row, int column, int rows, boolean words16) {
        int group = words16 ? 32 : 16;
        int interleave = words16 ? 4 : 2;
        int r = row / group * group + row % 8 * interleave + row % group / 8;
        int c = column;
        if (r % 2 == 0 && c % 2 == 1) {
            r++;
            c--;
        } else if (r % 2 == 1 && c % 2 == 0) {
            r--;
            c++;
        }
        return c / 2 * rows * 2 + r * 2 + c % 2;
    }

    /** The nibble of a group: of 2:4 its two indices; of 1:2, as pairs of halves. */
    private static int nibble(SparseTensor sparse, int[][] indices, int row, int group) {
        if (sparse.pattern().m() == 2) {
            return indices[row][group] == 0 ? 0x4 : 0xE;
        }
        return indices[row][2 * group] | indices[row][2 * group + 1] << 2;
    }

    @Test
    @Tag("tier")
    void writesTheMetadataOfSparseTensorCores() {
        Random random = new Random(102);
        for (int[] shape : new int[][] {{0, 64}, {32, 64}, {64, 128}, {96, 192}, {32, 0}}) {
            List<SparseTensor> all = List.of(
                    NmOracle.random(random, Sparsity.nm(2, 4), DType.F16, shape[0], shape[1]),
                    NmOracle.random(random, Sparsity.nm(2, 4), DType.BF16, shape[0], shape[1]),
                    NmOracle.random(random, Sparsity.nm(2, 4), QuantSpec.int8(), shape[0], shape[1]),
                    NmOracle.random(random, Sparsity.nm(1, 2), DType.F32, shape[0], shape[1]));
            for (SparseTensor sparse : all) {
                int[][] indices = NmOracle.indices(sparse);
                boolean words16 = sparse.spec() == null;
                int nibbles = words16 ? 4 : 8;
                int groups = shape[1] / sparse.pattern().m();
                long[] words = new long[shape[0] * (groups / nibbles)];
                for (int r = 0; r < shape[0]; r++) {
                    for (int g = 0; g < groups; g++) {
                        int at = sm80Word(r, g / nibbles, shape[0], words16);
                        words[at] |= (long) nibble(sparse, indices, r, g) << 4 * (g % nibbles);
                    }
                }
                byte[] expected = new byte[words.length * nibbles / 2];
                for (int i = 0; i < expected.length; i++) {
                    int size = nibbles / 2;
                    expected[i] = (byte) (words[i / size] >> 8 * (i % size));
                }
                Tensor metadata = sparse.toSm80();
                assertArrayEquals(expected, metadata.segment().toArray(JAVA_BYTE), sparse.toString());
                SparseTensor back = sparse.spec() == null
                        ? SparseTensor.fromSm80(sparse.values(), metadata)
                        : SparseTensor.fromSm80(sparse.values(), sparse.spec(), sparse.scales(), metadata);
                assertTrue(Arrays.deepEquals(indices, NmOracle.indices(back)), sparse.toString());
                assertEquals(sparse.shape(), back.shape());
            }
        }
    }
}
