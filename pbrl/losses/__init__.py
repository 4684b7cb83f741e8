"""The loss core: pure functions of scores, copyable as a folder; imports torch and nothing else."""

# Everything there is, by file; set to be read.
# fmt: off
# ruff: noqa: F401, I001
from .batch import aot, aot_unpaired, prompt_weights, relative_po, relative_po_diagonal
from .diagnostics import accuracy, ches, displacement
from .games import (
    Sampled, bnpo, bnpo_advantage, bnpo_parameters, drpo_doubly, geometric_mixture, gpo, inpo,
    itakura_saito, lsc, nash_md, onpo, win_rate_rewards)
from .general import gpm, gpm_regression, gpm_score, micro
from .grid import pair, pair_loss
from .informed import bfpo, egpo, mappo, mmpo, odpo, r_dpo, spo_sequential, tdpo1, tdpo2, wpo
from .links import LINKS
from .listwise import infonca, lambda_rank, mpo_set, nca, pairwise_mean, plackett_luce
from .logprobs import LogProbs, log1mexp
from .pairwise import (
    cdpo, cpl, discopop, dpo_shift, dppo, exo_pair, exp, flip_nll, hinge, ipo, mae, napo, nbpo,
    robust, sigmoid, smpo)
from .pointwise import (
    apo_zero_unpaired, bco, diffusion_kto, kto, kto_baseline, pmpo, point_bce, ulma)
from .policy import (
    alphapo, cpo, dpo_nll, f_dpo, h_dpo, mrpo, orpo, repo, sft, sigmoid_norm, simpo, slic, tpo_l,
    tpo_triple)
from .registry import LOSSES, loss
from .regularizers import (
    anchor_cosine, behavior_cloning, center_rewards, chi2, kl_k3, l2_rewards, nll, xpo)
from .select import bradley_terry, get, policy_loss, segment_loss
from .ties import davidson, rao_kupper
from .tokens import (
    Gates, Tokens, bmc, cringe, ld_dpo, pairwise_cringe, sparse_po, two_d_dpo, wpo_weight)
from .two_sided import apo_down, apo_zero, bco_pair, dpop, nca_pair, sppo, sppo_hard
