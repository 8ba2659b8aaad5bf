"""AWD-LSTM, piece by piece: every component of Merity, Keskar & Socher (2017) as plain PyTorch.

Reading order: ``corpora``, ``batches``, ``dropout``, ``penalties``, ``ntasgd``, ``recurrent``, ``contracts``,
``model``, ``model_contract``, ``evaluation``, ``agreement``, ``reach``, ``cache``, ``generation``, ``training_config``,
``training``, ``presets``; each module imports only from those before it, and all may use ``_require``: what a value
must be where it enters. ``runs``, ``ablation`` and ``cli`` make experiments of them, ``goals`` and ``results`` say what
is aimed at and what came out, ``figures`` and ``explore`` make the pictures of the book. ``ngrams`` stands beside them:
the models that only count.

Names here, in the paper and in the original code:

=========================  =================================================  =============
here                       paper                                              original code
=========================  =================================================  =============
``embedding_size``         embedding dimension                                emsize
``hidden_size``            hidden dimension                                   nhid
``num_layers``             number of layers                                   nlayers
``bptt`` (nominal window)  base sequence length                               bptt
``dropout_input``          dropout on the word vectors                        dropouti
``dropout_hidden``         dropout between the layers                         dropouth
``dropout_output``         dropout on the last layer                          dropout
``dropout_embedding``      embedding dropout ``p_e``                          dropoute
``dropout_weight``         DropConnect on ``U^i``, ``U^f``, ``U^o``, ``U^c``  wdrop
``ar_weight``              alpha                                              alpha
``tar_weight``             beta                                               beta
``patience``               non-monotone interval n                            nonmono
``max_grad_norm``          gradient clipping                                  clip
``weight_ih``              W                                                  weight_ih_l0
``weight_hh``              U                                                  weight_hh_l0
cache: ``window``          window                                             window
cache: ``flatness``        theta                                              theta
cache: ``weight``          lambda                                             lambdah
=========================  =================================================  =============
"""

__version__ = "0.1.0"
