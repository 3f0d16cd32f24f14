package io.gatun.ops;

import static io.gatun.ops.RandomArguments.spec;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.QMatmul.Options;
import io.gatun.ops.RandomArguments.Buffer;
import io.gatun.ops.RandomCalls.Call;
import io.gatun.ops.RandomCalls.Outcome;
import io.gatun.ops.RandomProduct.Form;
import java.util.Objects;
import org.junit.jupiter.api.Test;

/** Random calls of the product with one weight, and random bytes as packed weights. */
class RandomQMatmulTest {
    @Test
    void qmatmul() {
        RandomCalls.run("qmatmul", random -> new RandomProduct(random, Form.ONE_WEIGHT).call());
    }

    /** Any bytes as packed weights, or packed weights with flipped bytes in the header: refused, or as described. */
    @Test
    void packedBuffers() {
        RandomCalls.run("packed buffers", random -> {
            int columns = random.between(1, 24);
            int depth = random.between(1, 100);
            QuantizedTensor weights = QMatmulOracle.exactWeights(random.source, spec(random, depth), columns, depth);
            Buffer given = Buffer.of(random, QMatmul.pack(weights).segment());
            String context = weights + given.what();
            return new Call(
                    context,
                    given.right(),
                    () -> PackedWeights.wrap(given.bytes()),
                    () -> {
                        PackedWeights packed = PackedWeights.wrap(given.bytes());
                        QuantizedTensor unpacked = packed.unpack();
                        if (given.right() == Outcome.ACCEPTED) {
                            QuantizeTest.assertSameBytes(weights.codes(), unpacked.codes());
                        }
                        assertRuns(packed, unpacked, weights.spec(), random, context);
                    },
                    () -> true);
        });
    }

    /** The product with weights that a changed header describes: right if {@link QMatmul#pack} would take them. */
    private static void assertRuns(
            PackedWeights packed, QuantizedTensor weights, QuantSpec good, Random random, String context) {
        int depth = (int) packed.depth();
        int columns = (int) packed.rows();
        Tensor x = Tensor.of(random.normal(2 * depth, 1), 2, depth);
        Guarded y = Guarded.matrix(DType.F32, 2, columns);
        Options options = Options.DEFAULT.withMode(RandomMatmul.mode(random, packed.modes()));
        QMatmul.run(x, packed, y.tensor, options);
        assertTrue(y.unchangedOutside(0, columns), context);
        // Packing repeats a scale for each row of its block, writes the values of floats and code books, and stores
        // codes
        // of 2 and 6 bits wider; a header that says something else leaves what no packing writes.
        QuantSpec read = weights.spec();
        boolean wider = read.codes().bits() == 2 || read.codes().bits() == 6;
        boolean moderate = !wider
                && read.blocks().rows() == 1
                && read.codes() == good.codes()
                && Objects.equals(read.book(), good.book());
        for (float scale : new Decoder(weights).scales) {
            moderate &= scale == 0 || Math.abs(scale) > 1e-20f && Math.abs(scale) < 1e20f;
        }
        for (float offset : new Decoder(weights).offsets) {
            moderate &= Math.abs(offset) < 1e20f;
        }
        if (moderate && isPackable(weights)) {
            QMatmulOracle.of(x, weights, options).assertMatches(y.tensor, context + " " + options.mode());
        }
    }

    private static boolean isPackable(QuantizedTensor weights) {
        try {
            QMatmul.pack(weights);
            return true;
        } catch (IllegalArgumentException e) {
            return false;
        }
    }
}
