package io.gatun.ops;

import io.gatun.Tensor;
import io.gatun.ops.Attention.Options;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Comparator;
import java.util.function.IntFunction;
import java.util.function.IntToDoubleFunction;
import java.util.stream.IntStream;

/**
 * The selections of one batch item's heads in double, pair by pair of queries and keys, by the definitions of
 * gatun/attention_select.h. q and k are [batch, heads, length, size].
 */
final class SelectionOracle {
    private final Selection selection;
    private final AttentionOracle attention;
    private final int item;
    private final int heads;
    private final int group;
    private final int queries;
    private final int keys;
    private final int size;
    private final double scale;
    private final double[][][] queryRows;
    private final double[][][] keyRows;
    final BlockGrid grid;

    SelectionOracle(Selection selection, Tensor q, Tensor k, Options options, int item) {
        this.selection = selection;
        this.item = item;
        attention = new AttentionOracle(q, k, null, options);
        heads = (int) q.shape().size(1);
        group = heads / (int) k.shape().size(1);
        queries = (int) q.shape().size(2);
        keys = (int) k.shape().size(2);
        size = (int) q.shape().size(3);
        scale = Float.isNaN(options.scale()) ? 1 / Math.sqrt(size) : options.scale();
        queryRows = values(q);
        keyRows = values(k);
        grid = new BlockGrid(queries, keys, selection.queryBlock(), selection.keyBlock());
    }

    private boolean sees(int i, int j) {
        return attention.sees(item, 0, i, j, (long) i + keys - queries);
    }

    boolean allowed(int queryBlock, int keyBlock) {
        return attention.seesSome(item, 0, queryBlock, keyBlock, grid, queries, keys);
    }

    /** [heads][length][size] of this item. */
    private double[][][] values(Tensor rows) {
        int length = (int) rows.shape().size(2);
        double[][][] values = new double[(int) rows.shape().size(1)][length][size];
        for (int h = 0; h < values.length; h++) {
            for (int i = 0; i < length; i++) {
                for (int x = 0; x < size; x++) {
                    values[h][i][x] = rows.getFloat(item, h, i, x);
                }
            }
        }
        return values;
    }

    private double[] query(int head, int i) {
        return queryRows[head][i];
    }

    private double[] key(int head, int j) {
        return keyRows[head / group][j];
    }

    private static double dot(double[] a, double[] b) {
        double sum = 0;
        for (int x = 0; x < a.length; x++) {
            sum += a[x] * b[x];
        }
        return sum;
    }

    private static double[] mean(double[][] rows) {
        return IntStream.range(0, rows[0].length)
                .mapToDouble(x ->
                        Arrays.stream(rows).mapToDouble(row -> row[x]).average().orElseThrow())
                .toArray();
    }

    private static double meanCosine(double[][] rows) {
        double sum = 0;
        for (double[] a : rows) {
            for (double[] b : rows) {
                sum += dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
            }
        }
        return sum / rows.length / rows.length;
    }

    /** Of logits, of which those that are -infinity are not there; all 0 if none is. */
    private static double[] softmax(double[] logits) {
        double most = Arrays.stream(logits).max().orElse(0);
        double sum = Arrays.stream(logits).map(l -> Math.exp(l - most)).sum();
        return Arrays.stream(logits)
                .map(l -> most == Double.NEGATIVE_INFINITY ? 0 : Math.exp(l - most) / sum)
                .toArray();
    }

    /** [query blocks][key blocks]. */
    double[][] scores(int head) {
        return switch (selection.kind()) {
            case MEANS -> means(head);
            case ANTIDIAGONAL -> antidiagonals(head);
            case PROXY -> proxy(head);
            case MASS -> mass(head);
            case VERTICAL_SLASH -> throw new IllegalArgumentException("it has no scores");
        };
    }

    private double[][] rowsOf(int block, int blockSize, int length, IntFunction<double[]> row) {
        return IntStream.range(block * blockSize, Math.min((block + 1) * blockSize, length))
                .mapToObj(row)
                .toArray(double[][]::new);
    }

    private double[][] means(int head) {
        double[][] scores = new double[grid.queryBlocks()][];
        double[][] keyMeans = new double[grid.keyBlocks()][];
        boolean[] similar = new boolean[grid.keyBlocks()];
        for (int c = 0; c < similar.length; c++) {
            double[][] rows = rowsOf(c, grid.keyBlock(), keys, j -> key(head, j));
            keyMeans[c] = mean(rows);
            similar[c] = meanCosine(rows) >= selection.similarity();
        }
        for (int a = 0; a < scores.length; a++) {
            double[][] rows = rowsOf(a, grid.queryBlock(), queries, i -> query(head, i));
            double[] mean = mean(rows);
            boolean querySimilar = meanCosine(rows) >= selection.similarity();
            double[] logits = new double[similar.length];
            for (int c = 0; c < logits.length; c++) {
                boolean counts = similar[c] && allowed(a, c);
                logits[c] = counts ? scale * dot(mean, keyMeans[c]) : Double.NEGATIVE_INFINITY;
            }
            scores[a] = softmax(logits);
            for (int c = 0; c < logits.length; c++) {
                if (allowed(a, c) && !(querySimilar && similar[c])) {
                    scores[a][c] = Double.POSITIVE_INFINITY;
                }
            }
        }
        return scores;
    }

    private double[][] antidiagonals(int head) {
        int stride = selection.stride();
        double[][] scores = new double[grid.queryBlocks()][grid.keyBlocks()];
        for (int a = 0; a < queries; a += stride) {
            double[] logits = new double[Math.ceilDiv(keys, stride)];
            for (int c = 0; c < logits.length; c++) {
                boolean any = false;
                for (int i = a; i < Math.min(a + stride, queries); i++) {
                    for (int j = c * stride; j < Math.min((c + 1) * stride, keys); j++) {
                        any |= sees(i, j);
                        boolean onAntidiagonal = i - a == stride - 1 - (j - c * stride);
                        logits[c] += onAntidiagonal ? scale / stride * dot(query(head, i), key(head, j)) : 0;
                    }
                }
                logits[c] = any ? logits[c] : Double.NEGATIVE_INFINITY;
            }
            double[] weights = softmax(logits);
            int block = a / grid.queryBlock();
            int groups = Math.ceilDiv(grid.queries(block), stride);
            for (int c = 0; c < weights.length; c++) {
                scores[block][c * stride / grid.keyBlock()] += weights[c] / groups;
            }
        }
        return scores;
    }

    /** The largest logit of a block, token by token, of the mean of the group's heads. */
    private double[][] proxy(int head) {
        int each = heads / selection.proxyHeads();
        int first = head / each * each;
        double[][] scores = new double[grid.queryBlocks()][];
        double[][] meanKeys = rowsOf(0, keys, keys, j -> mean(members(first, each, h -> key(h, j))));
        for (int a = 0; a < scores.length; a++) {
            double[] most = new double[grid.keyBlocks()];
            Arrays.fill(most, Double.NEGATIVE_INFINITY);
            for (int i = a * grid.queryBlock(); i < Math.min((a + 1) * grid.queryBlock(), queries); i++) {
                int at = i;
                double[] query = mean(members(first, each, h -> query(h, at)));
                for (int j = 0; j < keys; j++) {
                    if (sees(i, j)) {
                        int c = j / grid.keyBlock();
                        most[c] = Math.max(most[c], scale * dot(query, meanKeys[j]));
                    }
                }
            }
            scores[a] = softmax(most);
        }
        return scores;
    }

    private static double[][] members(int first, int count, IntFunction<double[]> row) {
        return IntStream.range(first, first + count).mapToObj(row).toArray(double[][]::new);
    }

    private double[][] mass(int head) {
        double[][] scores = new double[grid.queryBlocks()][grid.keyBlocks()];
        for (int i = 0; i < queries; i++) {
            int a = i / grid.queryBlock();
            double lse = selection.lseBefore().getFloat(item, head, i);
            for (int j = 0; j < keys; j++) {
                double weight = sees(i, j) ? Math.exp(scale * dot(query(head, i), key(head, j)) - lse) : 0;
                scores[a][j / grid.keyBlock()] += weight / grid.queries(a);
            }
        }
        return scores;
    }

    private boolean forced(int queryBlock, int keyBlock) {
        boolean own = IntStream.range(0, grid.queries(queryBlock))
                .map(i -> queryBlock * grid.queryBlock() + i + keys - queries)
                .anyMatch(position -> position >= 0 && position / grid.keyBlock() == keyBlock);
        return selection.keepFirst() && keyBlock == 0 || selection.keepDiagonal() && own;
    }

    /** The blocks of a row of scores that are kept. */
    int[] choose(int queryBlock, IntToDoubleFunction scores, float amount) {
        int[] allowed = IntStream.range(0, grid.keyBlocks())
                .filter(c -> allowed(queryBlock, c))
                .toArray();
        int wanted = (int) (amount * allowed.length);
        double goal = amount
                * Arrays.stream(allowed)
                        .mapToDouble(scores)
                        .filter(Double::isFinite)
                        .sum();
        int[] best = Arrays.stream(allowed)
                .boxed()
                .sorted(Comparator.comparing((Integer c) -> !forced(queryBlock, c))
                        .thenComparing(Comparator.comparingDouble((Integer c) -> scores.applyAsDouble(c))
                                .reversed()))
                .mapToInt(c -> c)
                .toArray();
        BitSet kept = new BitSet();
        int count = 0;
        double mass = 0;
        for (int c : best) {
            double score = scores.applyAsDouble(c);
            if (score == Double.POSITIVE_INFINITY) {
                kept.set(c);
                continue;
            }
            boolean more = switch (selection.keep()) {
                case FRACTION -> count < wanted;
                case MASS -> mass < goal;
                case BELOW_MASS -> mass + score <= goal;
            };
            if (!forced(queryBlock, c) && !more && count > 0) {
                break;
            }
            kept.set(c);
            count++;
            mass += score;
        }
        return kept.stream().toArray();
    }

    /** The softmax of the last queries: [query][key], 0 where hidden. */
    private double[][] lastRows(int head) {
        int first = Math.max(0, queries - selection.lastQueries());
        double[][] rows = new double[queries - first][keys];
        for (int i = first; i < queries; i++) {
            double[] logits = new double[keys];
            for (int j = 0; j < keys; j++) {
                logits[j] = sees(i, j) ? scale * dot(query(head, i), key(head, j)) : Double.NEGATIVE_INFINITY;
            }
            rows[i - first] = softmax(logits);
        }
        return rows;
    }

    private static BitSet best(double[] sums, long count, long forced) {
        BitSet best = new BitSet();
        best.set(0, (int) Math.min(forced, sums.length));
        IntStream.range(0, sums.length)
                .boxed()
                .sorted(Comparator.comparingDouble(n -> -sums[n]))
                .filter(n -> n >= forced)
                .limit(Math.max(0, count - forced))
                .forEach(best::set);
        return best;
    }

    /** The blocks of a row that hold something of a line. */
    int[] lines(int head, int queryBlock) {
        double[][] rows = lastRows(head);
        double[] columns = new double[keys];
        double[] diagonals = new double[keys];
        for (int n = 0; n < rows.length; n++) {
            int position = keys - rows.length + n;
            for (int j = 0; j < keys; j++) {
                columns[j] += rows[n][j];
                if (j <= position) {
                    diagonals[position - j] += rows[n][j];
                }
            }
        }
        BitSet verticals = best(columns, selection.verticals(), selection.forcedVerticals());
        BitSet slashes = best(diagonals, selection.slashes(), selection.forcedSlashes());
        BitSet blocks = new BitSet();
        for (int i = queryBlock * grid.queryBlock(); i < Math.min((queryBlock + 1) * grid.queryBlock(), queries); i++) {
            int position = i + keys - queries;
            for (int j = 0; j < keys; j++) {
                if (verticals.get(j) || j <= position && slashes.get(position - j)) {
                    blocks.set(j / grid.keyBlock());
                }
            }
        }
        return IntStream.range(0, grid.keyBlocks())
                .filter(c -> allowed(queryBlock, c) && (blocks.get(c) || forced(queryBlock, c)))
                .toArray();
    }

    /** The share of the blocks of the last queries, largest first, that holds {@code amount} of their attention. */
    double budget(int head) {
        double[][] rows = lastRows(head);
        double[] masses = new double[grid.keyBlocks()];
        boolean[] seen = new boolean[masses.length];
        for (int n = 0; n < rows.length; n++) {
            for (int j = 0; j < keys; j++) {
                masses[j / grid.keyBlock()] += rows[n][j];
                seen[j / grid.keyBlock()] |= sees(queries - rows.length + n, j);
            }
        }
        double[] ascending = Arrays.stream(masses).sorted().toArray();
        double goal = selection.amount() * Arrays.stream(masses).sum();
        int kept = 0;
        for (double sum = 0; sum < goal; kept++) {
            sum += ascending[ascending.length - 1 - kept];
        }
        return (double) kept
                / IntStream.range(0, seen.length).filter(c -> seen[c]).count();
    }
}
