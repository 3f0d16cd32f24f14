import io.gatun.example.MiniLm;
import io.gatun.spark.EmbeddingJob;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;

public class EmbedColumn {
    public static void main(String[] arguments) throws Exception {
        try (SparkSession spark = SparkSession.builder().getOrCreate()) {
            Dataset<Row> texts = spark.sql("SELECT * FROM VALUES (1, 'locks lift ships'), (2, NULL) AS t(id, text)");
            EmbeddingJob job = EmbeddingJob.of(() -> MiniLm.load()::embed); // opened once in every executor
            Dataset<Row> embedded = job.withBatch(64).run(texts, "text", "embedding");
            embedded.selectExpr("id", "size(embedding)", "embedding[0]")
                    .orderBy("id")
                    .show();
        }
    }
}
