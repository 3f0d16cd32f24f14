package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Attention.Options;
import io.gatun.ops.Attention.Window;
import io.gatun.ops.Selection.Keep;
import io.gatun.ops.Selection.Kind;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** Each published selection against {@link SelectionOracle}: its scores, and what it keeps of them. */
@Tag("tier")
class SelectionOracleTest {
    private final Random random = new Random(31);
    private Tensor q;
    private Tensor k;
    private Options options;

    private void draw(int seed) {
        int kvHeads = 1 + seed % 2;
        int queries = random.of(40, 77, 96);
        int keys = random.of(64, 100, 131);
        int size = 8 * random.between(1, 4);
        q = rows(2 * kvHeads, queries, size);
        k = rows(kvHeads, keys, size);
        options = Options.DEFAULT
                .withCausal(seed % 3 != 0)
                .withWindow(seed % 4 == 1 ? new Window(50, -1, 3) : Window.NONE)
                .withScale(random.of(0.2f, 0.7f));
    }

    /** Two items, their rows along a slow curve, some alike and some not. */
    private Tensor rows(int heads, int length, int size) {
        float[] values = random.normal(2 * heads * length * size, 1);
        double along = 1;
        for (int n = 0; n < values.length; n++) {
            if (n % (16 * size) == 0) {
                along = random.of(0.5, 3.0);
            }
            values[n] += (float) (along * Math.sin((n / size) * 0.05 + n % size));
        }
        return Tensor.of(values, 2, heads, length, size);
    }

    private Tensor lse() {
        Tensor lse = Tensor.allocate(DType.F32, 2, q.shape().size(1), q.shape().size(2));
        Attention.run(q, k, null, null, options.withLse(lse));
        return lse;
    }

    /** Scores, and what each rule keeps of them, forced blocks and budgets among them. */
    private void check(Selection kind) {
        Keep keep = random.of(Keep.values());
        double amount = random.of(0.15, 0.4, 0.8);
        Selection selection = (keep == Keep.FRACTION
                        ? kind.withKeepFraction(amount)
                        : keep == Keep.MASS ? kind.withKeepMass(amount) : kind.withKeepBelowMass(amount))
                .withFirst(random.chance(0.5))
                .withDiagonal(random.chance(0.5));
        int heads = (int) q.shape().size(1);
        Tensor budgets = null;
        if (random.chance(0.5)) {
            budgets = Tensor.allocate(DType.F32, 2, heads);
            for (int n = 0; n < 2 * heads; n++) {
                budgets.setFloat((float) random.source.nextDouble(), n / heads, n % heads);
            }
        }
        selection = selection.withBudgets(budgets);
        Tensor scores = selection.scores(q, k, options);
        BlockMask mask = selection.select(q, k, options);
        for (int b = 0; b < 2; b++) {
            SelectionOracle oracle = new SelectionOracle(selection, q, k, options, b);
            assertEquals(oracle.grid, mask.grid());
            for (int h = 0; h < heads; h++) {
                double[][] right = oracle.scores(h);
                for (int a = 0; a < right.length; a++) {
                    String place = selection + " [" + b + ", " + h + ", " + a + "]";
                    for (int c = 0; c < right[a].length; c++) {
                        assertEquals(right[a][c], scores.getFloat(b, h, a, c), 2e-5, place + " block " + c);
                    }
                    int item = b;
                    int head = h;
                    int row = a;
                    int[] kept = oracle.choose(
                            a,
                            c -> scores.getFloat(item, head, row, c),
                            budgets == null ? selection.amount() : budgets.getFloat(b, h));
                    assertArrayEquals(kept, mask.fullBlocks(b, h, a), place);
                    assertEquals(0, mask.partialBlocks(b, h, a).length);
                }
            }
        }
    }

    @Test
    void means() {
        for (int seed = 0; seed < 12; seed++) {
            draw(seed);
            check(Selection.means().withBlocks(random.of(16, 32), random.of(16, 32)));
        }
    }

    /** SpargeAttn: what is not alike enough is kept, whatever the others are. */
    @Test
    void similarity() {
        int alike = 0;
        int all = 0;
        for (int seed = 0; seed < 12; seed++) {
            draw(seed);
            Selection selection = Selection.means().withBlocks(16, 16).withSimilarity(0.5);
            check(selection);
            for (float score : selection.scores(q, k, options).toFloatArray()) {
                alike += score > 0 && score < Float.POSITIVE_INFINITY ? 1 : 0;
                all += score > 0 ? 1 : 0;
            }
        }
        assertTrue(alike > all / 10 && alike < all * 9 / 10, alike + " of " + all);
    }

    @Test
    void antidiagonals() {
        for (int seed = 0; seed < 12; seed++) {
            draw(seed);
            check(Selection.antidiagonal().withBlocks(random.of(16, 32), 32).withStride(random.of(4, 8, 16)));
        }
    }

    @Test
    void proxyHeads() {
        for (int seed = 0; seed < 12; seed++) {
            draw(seed);
            check(Selection.proxy(random.of(1, 2)).withBlocks(16, random.of(16, 32)));
        }
    }

    @Test
    void mass() {
        for (int seed = 0; seed < 12; seed++) {
            draw(seed);
            check(Selection.mass(lse()).withBlocks(16, random.of(16, 32)));
        }
    }

    @Test
    void verticalSlash() {
        for (int seed = 0; seed < 12; seed++) {
            draw(seed);
            Selection selection = Selection.verticalSlash(1, 1)
                    .withLines(random.between(0, 12), random.between(0, 12), random.between(0, 3), random.between(0, 3))
                    .withBlocks(16, random.of(16, 32))
                    .withLastQueries(random.of(5, 64))
                    .withFirst(random.chance(0.5));
            assertEquals(Kind.VERTICAL_SLASH, selection.kind());
            BlockMask mask = selection.select(q, k, options);
            for (int b = 0; b < 2; b++) {
                SelectionOracle oracle = new SelectionOracle(selection, q, k, options, b);
                for (int h = 0; h < q.shape().size(1); h++) {
                    for (int a = 0; a < mask.grid().queryBlocks(); a++) {
                        assertArrayEquals(
                                oracle.lines(h, a),
                                mask.fullBlocks(b, h, a),
                                selection + " [" + b + ", " + h + ", " + a + "]");
                    }
                }
            }
        }
    }

    /** ProxyAttn: how much each head needs. */
    @Test
    void budgets() {
        for (int seed = 0; seed < 12; seed++) {
            draw(seed);
            Selection selection = Selection.proxy(1)
                    .withBlocks(16, 16)
                    .withKeepMass(random.of(0.3, 0.6, 0.9))
                    .withLastQueries(random.of(1, 64));
            Tensor budgets = selection.budgets(q, k, options);
            for (int b = 0; b < 2; b++) {
                SelectionOracle oracle = new SelectionOracle(selection, q, k, options, b);
                for (int h = 0; h < q.shape().size(1); h++) {
                    assertEquals(oracle.budget(h), budgets.getFloat(b, h), 1e-6, selection + " [" + b + ", " + h + "]");
                }
            }
        }
    }
}
