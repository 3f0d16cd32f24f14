package io.gatun.bench;

import com.fasterxml.jackson.databind.MappingIterator;
import com.fasterxml.jackson.dataformat.csv.CsvMapper;
import com.fasterxml.jackson.dataformat.csv.CsvSchema;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/**
 * A row of {@code bench/shapes/qmatmul.csv}: a layer of a model that is in use.
 *
 * @param model its name
 * @param layer its names there
 * @param columns N, the layer's outputs
 * @param depth K, its inputs
 * @param formats {@code all} for every format, tier and odd sizes; {@code one} for int4 in groups of 32
 * @param rows the numbers of rows M to measure, separated by blanks: tokens at once
 * @param source where the sizes are stated
 */
record QMatmulShape(String model, String layer, long columns, long depth, String formats, String rows, String source) {
    QMatmulShape {
        if (!List.of("all", "one").contains(formats)) {
            throw new IllegalArgumentException(model + " " + layer + ": formats " + formats + "; allowed: all, one");
        }
        if (columns < 1 || depth < 1 || rows == null || !rows.matches("[1-9]\\d*( [1-9]\\d*)*")) {
            throw new IllegalArgumentException(model + " " + layer + ": " + columns + "x" + depth + " rows " + rows
                    + "; allowed: numbers above 0");
        }
    }

    /** All rows of a file. */
    static List<QMatmulShape> read(Path csv) throws IOException {
        CsvMapper mapper = new CsvMapper();
        CsvSchema schema = CsvSchema.emptySchema().withHeader();
        try (MappingIterator<QMatmulShape> rows =
                mapper.readerFor(QMatmulShape.class).with(schema).readValues(csv.toFile())) {
            return rows.readAll();
        }
    }

    /** Those that a command line names: all, or the one of that size, which may be nobody's yet. */
    static List<QMatmulShape> chosen(List<QMatmulShape> all, Arguments arguments) {
        if (arguments.shape() == null) {
            return all;
        }
        String[] size = arguments.shape().split("x");
        long columns = Long.parseLong(size[0]), depth = Long.parseLong(size[1]);
        return List.of(all.stream()
                .filter(shape -> shape.columns == columns && shape.depth == depth)
                .findFirst()
                .orElseGet(() -> new QMatmulShape(
                        "given", "--shape", columns, depth, "all", all.get(0).rows, "the command line")));
    }

    boolean hasAllFormats() {
        return formats.equals("all");
    }

    /** One row times this layer's weights in a format. */
    QMatmulCase with(String weights, int group) {
        return QMatmulCase.of(weights, group, columns, depth, 1);
    }

    List<Long> rowCounts() {
        return Stream.of(rows.split(" ")).map(Long::valueOf).toList();
    }
}
