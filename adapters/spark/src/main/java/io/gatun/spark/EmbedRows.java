package io.gatun.spark;

import io.gatun.Gatun;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.Queue;
import org.apache.spark.TaskContext;
import org.apache.spark.api.java.function.MapPartitionsFunction;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;

/**
 * What a task does: the rows of a partition, each with the embedding of its text behind its values.
 *
 * @param model the name of the source's model
 * @param column of texts
 * @param batch how many rows are read before the first of them is given
 * @param threads of a call, or {@link #TASK_CPUS}
 */
record EmbedRows(TextEmbedder.Source source, String model, int column, int batch, int threads)
        implements MapPartitionsFunction<Row, Row> {
    /** As many threads as the task has processors. */
    static final int TASK_CPUS = 0;

    @Override
    public Iterator<Row> call(Iterator<Row> rows) {
        return rows.hasNext() ? new EmbeddedRows(rows) : rows;
    }

    private TextEmbedder embedder() {
        try {
            Gatun.setThreads(threads == TASK_CPUS ? TaskContext.get().cpus() : threads);
            return Models.get(source, model);
        } catch (Exception | LinkageError e) {
            throw new IllegalStateException("the model cannot be loaded here; the next task tries again: " + e, e);
        }
    }

    /** Holds no more than the rows of one batch. */
    private final class EmbeddedRows implements Iterator<Row> {
        private final Iterator<Row> rows;
        private final TextEmbedder embedder = embedder();
        private final Queue<Row> ready = new ArrayDeque<>();

        EmbeddedRows(Iterator<Row> rows) {
            this.rows = rows;
        }

        @Override
        public boolean hasNext() {
            return !ready.isEmpty() || rows.hasNext();
        }

        @Override
        public Row next() {
            if (ready.isEmpty()) {
                embedBatch();
            }
            return ready.remove();
        }

        private void embedBatch() {
            List<Row> read = new ArrayList<>();
            List<String> texts = new ArrayList<>();
            while (read.size() < batch && rows.hasNext()) {
                Row row = rows.next();
                read.add(row);
                if (!row.isNullAt(column)) {
                    texts.add(row.getString(column));
                }
            }
            Iterator<float[]> vectors = embed(texts).iterator();
            for (Row row : read) {
                Object[] values = new Object[row.size() + 1];
                for (int i = 0; i < row.size(); i++) {
                    values[i] = row.get(i);
                }
                values[row.size()] = row.isNullAt(column) ? null : vectors.next();
                ready.add(RowFactory.create(values));
            }
        }

        private List<float[]> embed(List<String> texts) {
            if (texts.isEmpty()) {
                return List.of();
            }
            List<float[]> vectors;
            try {
                vectors = Arrays.asList(embedder.embed(texts));
            } catch (Exception e) {
                throw new IllegalStateException(
                        "embedding " + texts.size() + " texts of partition " + TaskContext.getPartitionId() + ": " + e,
                        e);
            }
            if (vectors.size() != texts.size() || vectors.contains(null)) {
                throw new IllegalStateException("the model gave " + vectors.size() + " vectors for " + texts.size()
                        + " texts" + (vectors.contains(null) ? ", a null among them" : ""));
            }
            return vectors;
        }
    }
}
