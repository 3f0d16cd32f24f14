package io.gatun.ops;

import io.gatun.ops.KvCache.Age;
import io.gatun.ops.KvFormat.Scaling;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** The tokens of a sequence as lists of rows, one by one, with neither pages nor sharing. */
final class NaiveKvCache {
    /**
     * A row as it is read back.
     *
     * @param codes less what stands for 0; of values those
     * @param scales of each; of values 1
     */
    record Row(float[] values, float[] codes, float[] scales) {
        static Row of(float[] values) {
            float[] ones = new float[values.length];
            Arrays.fill(ones, 1);
            return new Row(values, values, ones);
        }
    }

    /** Formats with the ages from which on tokens have them; the newest tokens' first. */
    private final List<Age> formats;

    private final int heads;
    private final int pageSize;
    /** Of each format, k or v, and head. */
    private final List<List<Row>> lists = new ArrayList<>();

    NaiveKvCache(List<Age> formats, int heads, int pageSize) {
        this.formats = formats;
        this.heads = heads;
        this.pageSize = pageSize;
        for (int i = 0; i < formats.size() * 2 * heads; i++) {
            lists.add(new ArrayList<>());
        }
    }

    NaiveKvCache fork() {
        NaiveKvCache copy = new NaiveKvCache(formats, heads, pageSize);
        for (int i = 0; i < lists.size(); i++) {
            copy.lists.get(i).addAll(lists.get(i));
        }
        return copy;
    }

    private List<Row> list(int format, boolean keys, int head) {
        return lists.get((2 * format + (keys ? 0 : 1)) * heads + head);
    }

    int length(int format) {
        return list(format, true, 0).size();
    }

    int length() {
        int length = 0;
        for (int i = 0; i < formats.size(); i++) {
            length += length(i);
        }
        return length;
    }

    /** The first token of a format. */
    int offset(int format) {
        int offset = 0;
        for (int i = format + 1; i < formats.size(); i++) {
            offset += length(i);
        }
        return offset;
    }

    /** All rows of a head, oldest first. */
    List<Row> rows(boolean keys, int head) {
        List<Row> rows = new ArrayList<>();
        for (int i = formats.size() - 1; i >= 0; i--) {
            rows.addAll(list(i, keys, head));
        }
        return rows;
    }

    List<Row> rows(int format, boolean keys, int head) {
        return List.copyOf(list(format, keys, head));
    }

    // ---- what a sequence does --------------------------------------------------------------------------------------

    /** A token: a row of each head. */
    void append(float[][] k, float[][] v) {
        for (int h = 0; h < heads; h++) {
            write(0, true, h, List.of(Row.of(k[h])));
            write(0, false, h, List.of(Row.of(v[h])));
        }
        int newest = 0;
        for (int i = 0; i + 1 < formats.size(); i++) {
            newest += length(i);
            while (length(i) >= pageSize
                    && newest - pageSize >= formats.get(i + 1).tokens()) {
                for (int h = 0; h < heads; h++) {
                    moveOn(i, true, h);
                    moveOn(i, false, h);
                }
                newest -= pageSize;
            }
        }
    }

    private void moveOn(int format, boolean keys, int head) {
        List<Row> page = list(format, keys, head).subList(0, pageSize);
        List<Row> rows = List.copyOf(page);
        page.clear();
        write(format + 1, keys, head, rows);
    }

    void truncate(int length) {
        for (int i = 0; i < lists.size(); i++) {
            int format = i / heads / 2;
            int offset = offset(format);
            List<Row> list = lists.get(i);
            // Later formats are older tokens, whose lists are not cut yet.
            list.subList(Math.clamp(length - offset, 0, list.size()), list.size())
                    .clear();
        }
    }

    void keep(long[][] keep) {
        List<int[]> parts = new ArrayList<>();
        for (int i = 0; i < formats.size(); i++) {
            for (int h = 0; h < heads; h++) {
                long offset = offset(i);
                long end = offset + length(i);
                parts.add(Arrays.stream(keep[keep.length == 1 ? 0 : h])
                        .filter(token -> token >= offset && token < end)
                        .mapToInt(token -> (int) (token - offset))
                        .toArray());
            }
        }
        for (int i = 0; i < formats.size(); i++) {
            for (int h = 0; h < heads; h++) {
                keep(i, true, h, parts.get(i * heads + h));
                keep(i, false, h, parts.get(i * heads + h));
            }
        }
    }

    private void keep(int format, boolean keys, int head, int[] keep) {
        List<Row> list = list(format, keys, head);
        List<Row> before = List.copyOf(list);
        int group = group(formatOf(format, keys));
        int whole = 0;
        while (whole < keep.length && isWhole(keep, whole, group)) {
            whole += group;
        }
        list.clear();
        List<Row> rest = new ArrayList<>();
        for (int t = 0; t < keep.length; t++) {
            (t < whole ? list : rest).add(before.get(keep[t]));
        }
        if (!rest.isEmpty()) {
            write(format, keys, head, rest);
        }
    }

    /** Whether what becomes a group was one. */
    private static boolean isWhole(int[] keep, int first, int group) {
        for (int i = first; i < Math.min(first + group, keep.length); i++) {
            if (keep[i] != keep[first] + i - first || keep[first] % group != 0) {
                return false;
            }
        }
        return true;
    }

    // ---- rows ------------------------------------------------------------------------------------------------------

    private KvFormat formatOf(int format, boolean keys) {
        return keys ? formats.get(format).k() : formats.get(format).v();
    }

    private static int group(KvFormat format) {
        return format.scaling() == Scaling.PER_CHANNEL ? format.group() : 1;
    }

    /** Rows at the end. Tokens of a group with scales per channel that is not full get other scales with those. */
    private void write(int format, boolean keys, int head, List<Row> rows) {
        KvFormat kept = formatOf(format, keys);
        List<Row> list = list(format, keys, head);
        int group = group(kept);
        List<Row> open = list.subList(list.size() - list.size() % group, list.size());
        List<Row> all = new ArrayList<>(open);
        all.addAll(rows);
        open.clear();
        for (int t = 0; t < all.size(); t += group) {
            list.addAll(quantized(kept, all.subList(t, Math.min(t + group, all.size()))));
        }
    }

    /** Rows that share scales, or a single one. */
    private static List<Row> quantized(KvFormat format, List<Row> rows) {
        int size = rows.get(0).values.length;
        float[][] values = new float[rows.size()][size];
        float[][] codes = new float[rows.size()][size];
        float[][] scales = new float[rows.size()][size];
        boolean channels = format.scaling() == Scaling.PER_CHANNEL;
        int step = format.group() == 0 || channels ? size : format.group();
        for (int c = 0; c < size; c++) {
            for (int t = 0; t < rows.size(); t++) {
                if (format.scaling() == Scaling.NONE) {
                    values[t][c] = KvOracle.rounded(format.dtype(), rows.get(t).values[c]);
                } else if (channels ? t == 0 : c % step == 0) {
                    int count = channels ? rows.size() : Math.min(step, size - c);
                    float[] group = new float[count];
                    for (int n = 0; n < count; n++) {
                        group[n] = channels ? rows.get(n).values[c] : rows.get(t).values[c + n];
                    }
                    KvOracle.Group made = KvOracle.Group.of(format, group);
                    for (int n = 0; n < count; n++) {
                        int row = channels ? n : t;
                        int channel = channels ? c : c + n;
                        codes[row][channel] = made.codes()[n] - middle(format);
                        scales[row][channel] = made.scale();
                        values[row][channel] = codes[row][channel] * made.scale() + made.zero();
                    }
                }
            }
        }
        List<Row> result = new ArrayList<>();
        for (int t = 0; t < rows.size(); t++) {
            result.add(format.scaling() == Scaling.NONE ? Row.of(values[t]) : new Row(values[t], codes[t], scales[t]));
        }
        return result;
    }

    private static int middle(KvFormat format) {
        return switch (format.dtype()) {
            case U4 -> format.zeroPoint() ? 0 : 8;
            case U2 -> format.zeroPoint() ? 0 : 2;
            default -> 0;
        };
    }
}
