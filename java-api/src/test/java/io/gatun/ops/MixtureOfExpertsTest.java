package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.QMatmul.Activation;
import io.gatun.ops.QMatmul.Options;
import java.util.Arrays;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** A layer of a mixture of experts, in two calls for all experts: the same as token by token. */
class MixtureOfExpertsTest {
    private static final int EXPERTS = 8;
    private static final int CHOSEN = 2;
    private static final int WIDTH = 64;
    private static final int INNER = 96;
    private static final Options SILU = Options.DEFAULT.withActivation(Activation.SILU);

    private final Random random = new Random(81);
    private final PackedStack up = experts(INNER, WIDTH);
    private final PackedStack down = experts(WIDTH, INNER);

    private PackedStack experts(int columns, int depth) {
        return PackedStack.pack(IntStream.range(0, EXPERTS)
                .mapToObj(e -> Quantize.run(
                        Tensor.of(random.normal(columns * depth, 0.1), columns, depth), QuantSpec.int4(32)))
                .toList());
    }

    /** For each token its experts, and how much of each: {@code share[token][expert]} is 0 for those not chosen. */
    private float[][] route(int tokens) {
        float[][] share = new float[tokens][EXPERTS];
        for (float[] shares : share) {
            for (int chosen = 0; chosen < CHOSEN; ) {
                int expert = random.between(0, EXPERTS - 1);
                if (shares[expert] == 0) {
                    shares[expert] = random.between(1, 9) / 10f;
                    chosen++;
                }
            }
        }
        return share;
    }

    private float[] layer(float[] x, float[][] share) {
        int tokens = share.length;
        // Rows of x sorted by expert, each token once for each of its experts.
        int[] tokenOf = new int[tokens * CHOSEN];
        long[] rows = new long[EXPERTS];
        float[] sorted = new float[tokens * CHOSEN * WIDTH];
        int row = 0;
        for (int expert = 0; expert < EXPERTS; expert++) {
            for (int token = 0; token < tokens; token++) {
                if (share[token][expert] != 0) {
                    System.arraycopy(x, token * WIDTH, sorted, row * WIDTH, WIDTH);
                    tokenOf[row++] = token;
                    rows[expert]++;
                }
            }
        }
        Tensor hidden = Tensor.allocate(DType.F32, row, INNER);
        Tensor out = Tensor.allocate(DType.F32, row, WIDTH);
        QMatmul.runGrouped(Tensor.of(sorted, row, WIDTH), rows, up, hidden, SILU);
        QMatmul.runGrouped(hidden, rows, down, out);

        float[] y = new float[tokens * WIDTH];
        float[] products = out.toFloatArray();
        row = 0;
        for (int expert = 0; expert < EXPERTS; expert++) {
            for (long i = 0; i < rows[expert]; i++, row++) {
                add(
                        y,
                        tokenOf[row],
                        share[tokenOf[row]][expert],
                        Arrays.copyOfRange(products, row * WIDTH, (row + 1) * WIDTH));
            }
        }
        return y;
    }

    private float[] tokenByToken(float[] x, float[][] share) {
        float[] y = new float[share.length * WIDTH];
        Tensor hidden = Tensor.allocate(DType.F32, 1, INNER);
        Tensor out = Tensor.allocate(DType.F32, 1, WIDTH);
        for (int expert = 0; expert < EXPERTS; expert++) {
            for (int token = 0; token < share.length; token++) {
                if (share[token][expert] != 0) {
                    float[] one = Arrays.copyOfRange(x, token * WIDTH, (token + 1) * WIDTH);
                    QMatmul.run(Tensor.of(one, 1, WIDTH), up.get(expert), hidden, SILU);
                    QMatmul.run(hidden, down.get(expert), out);
                    add(y, token, share[token][expert], out.toFloatArray());
                }
            }
        }
        return y;
    }

    private static void add(float[] y, int token, float share, float[] product) {
        for (int k = 0; k < WIDTH; k++) {
            y[token * WIDTH + k] += share * product[k];
        }
    }

    @Test
    void isTheSameTokenByToken() {
        for (int tokens : new int[] {1, 5, 40}) {
            float[] x = random.normal(tokens * WIDTH, 1);
            float[][] share = route(tokens);
            assertArrayEquals(tokenByToken(x, share), layer(x, share));
        }
    }
}
