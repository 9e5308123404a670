import { type Family, whole } from './family.js';
import { ggufPlain } from './gguf.js';

export const bert: Family = {
  name: 'bert',
  models: 'BERT, RoBERTa, XLM-R, CamemBERT, ELECTRA',
  modelTypes: ['bert', 'roberta', 'xlm-roberta', 'camembert', 'electra', 'data2vec-text'],
  architectures: ['Bert', 'Roberta', 'XLMRoberta', 'Camembert', 'Electra', 'Data2VecText'],
  orientation: 'out x in',
  namings: [
    {
      prefixes: [
        'bert.encoder.layer.',
        'roberta.encoder.layer.',
        'electra.encoder.layer.',
        'data2vec_text.encoder.layer.',
        'encoder.layer.',
      ],
      matrices: {
        q_proj: whole('attention.self.query.weight'),
        k_proj: whole('attention.self.key.weight'),
        v_proj: whole('attention.self.value.weight'),
        out_proj: whole('attention.output.dense.weight'),
        fc_in: whole('intermediate.dense.weight'),
        fc_out: whole('output.dense.weight'),
      },
    },
    ggufPlain,
  ],
  gguf: {
    architectures: ['bert'],
    converted: { bert: 'bert' },
    embedding: 'bert.embeddings.word_embeddings',
    head: 'cls.predictions.decoder',
  },
};
