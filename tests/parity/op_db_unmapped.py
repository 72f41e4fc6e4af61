"""The names of PyTorch's op_db that no function of ours answers to, by reason."""

UNMAPPED: dict[str, str] = {
    "dtype= beside the values: astype says it aloud": """
        log_softmax:with_dtype nn.functional.softmin:with_dtype softmax:with_dtype
    """,
    "complex numbers": """
        angle cdouble cfloat chalf complex conj conj_physical imag isreal
        nn.functional.silu:complex polar real resolve_conj resolve_neg sgn view_as_complex
        view_as_real
    """,
    "Fourier transforms and the windows of signals": """
        fft.fft fft.fft2 fft.fftn fft.fftshift fft.hfft fft.hfft2 fft.hfftn fft.ifft
        fft.ifft2 fft.ifftn fft.ifftshift fft.ihfft fft.ihfft2 fft.ihfftn fft.irfft
        fft.irfft2 fft.irfftn fft.rfft fft.rfft2 fft.rfftn istft signal.windows.bartlett
        signal.windows.blackman signal.windows.cosine signal.windows.exponential
        signal.windows.gaussian signal.windows.general_cosine signal.windows.general_hamming
        signal.windows.hamming signal.windows.hann signal.windows.kaiser
        signal.windows.nuttall stft
    """,
    "functions that a GPT does not use": """
        acos acosh asin asinh atan atan2 atanh copysign cosh deg2rad digamma erfc erfinv
        float_power frexp heaviside hypot i0 igamma igammac ldexp lgamma log10 log2
        logaddexp logaddexp2 logcumsumexp logit mvlgamma:mvlgamma_p_1 mvlgamma:mvlgamma_p_3
        mvlgamma:mvlgamma_p_5 nextafter polygamma:polygamma_n_0 polygamma:polygamma_n_1
        polygamma:polygamma_n_2 polygamma:polygamma_n_3 polygamma:polygamma_n_4 rad2deg sinc
        sinh special.airy_ai special.bessel_j0 special.bessel_j1 special.bessel_y0
        special.bessel_y1 special.chebyshev_polynomial_t special.chebyshev_polynomial_u
        special.chebyshev_polynomial_v special.chebyshev_polynomial_w special.entr
        special.erfcx special.hermite_polynomial_h special.hermite_polynomial_he special.i0e
        special.i1 special.i1e special.laguerre_polynomial_l special.legendre_polynomial_p
        special.log_ndtr special.modified_bessel_i0 special.modified_bessel_i1
        special.modified_bessel_k0 special.modified_bessel_k1 special.ndtr special.ndtri
        special.polygamma:special_polygamma_n_0 special.scaled_modified_bessel_k0
        special.scaled_modified_bessel_k1 special.shifted_chebyshev_polynomial_t
        special.shifted_chebyshev_polynomial_u special.shifted_chebyshev_polynomial_v
        special.shifted_chebyshev_polynomial_w special.spherical_bessel_j0 special.xlog1py
        special.zeta tan xlogy
    """,
    "rounding, remainders, integers and bits": """
        __rand__ __rmod__ __ror__ __rxor__ bfloat16 bitwise_and bitwise_left_shift
        bitwise_not bitwise_or bitwise_right_shift bitwise_xor byte ceil char
        div:floor_rounding div:trunc_rounding floor floor_divide fmod frac gcd half
        hash_tensor lcm remainder round round:decimals_0 round:decimals_3
        round:decimals_neg_3 trunc
    """,
    "logic and predicates of arrays": """
        broadcast_shapes equal isin isneginf isposinf logical_and logical_not logical_or
        logical_xor sign
    """,
    "random draws": """
        bernoulli cauchy exponential geometric log_normal multinomial
        native_dropout_backward nn.functional.alpha_dropout nn.functional.dropout2d
        nn.functional.dropout3d nn.functional.feature_alpha_dropout:with_train
        nn.functional.feature_alpha_dropout:without_train nn.functional.rrelu normal
        normal:in_place normal:number_mean rand_like randint randint_like randn randn_like
        uniform
    """,
    "decompositions, solvers, norms and products of linear algebra": """
        block_diag cdist cholesky cholesky_inverse cholesky_solve corrcoef cov cross
        cumulative_trapezoid dist geqrf kron linalg.cholesky linalg.cholesky_ex linalg.cond
        linalg.cross linalg.det linalg.diagonal linalg.eig linalg.eigh linalg.eigvals
        linalg.eigvalsh linalg.householder_product linalg.inv linalg.inv_ex
        linalg.ldl_factor linalg.ldl_factor_ex linalg.ldl_solve linalg.lstsq
        linalg.lstsq:grad_oriented linalg.lu linalg.lu_factor linalg.lu_factor_ex
        linalg.lu_solve linalg.matrix_norm linalg.matrix_power linalg.matrix_rank
        linalg.matrix_rank:hermitian linalg.multi_dot linalg.norm
        linalg.norm:subgradients_at_zero linalg.pinv linalg.pinv:hermitian
        linalg.pinv:singular linalg.qr linalg.slogdet linalg.solve linalg.solve_ex
        linalg.solve_triangular linalg.svd linalg.svdvals linalg.tensorinv
        linalg.tensorsolve linalg.vander linalg.vector_norm logdet lu lu_solve lu_unpack
        matrix_exp norm norm:fro norm:inf norm:nuc ormqr pca_lowrank pinverse qr renorm svd
        svd_lowrank tensordot trace trapezoid trapz triangular_solve
    """,
    "sparse tensors": """
        _segment_reduce:lengths _segment_reduce:offsets sparse.mm:reduce
        sparse.sampled_addmm to_sparse
    """,
    "PyTorch's own kernels, compilers and their helpers": """
        _batch_norm_with_update _chunk_cat _native_batch_norm_legit _softmax_backward_data
        _unsafe_masked_index _unsafe_masked_index_put_accumulate _upsample_bilinear2d_aa
        alias_copy as_strided as_strided:partial_views as_strided_copy as_strided_scatter
        clone contiguous empty empty_like empty_permuted empty_strided fill
        jiterator_2inputs_2outputs jiterator_4inputs_with_extra_args jiterator_binary
        jiterator_binary_return_by_ref jiterator_unary max_pool2d_with_indices_backward
        native_batch_norm native_group_norm new_empty new_empty_strided new_full new_ones
        new_zeros resize_ resize_as_ sum_to_size torch._scaled_mm torch._scaled_mm_v2
        torch.ops.aten._efficient_attention_forward torch.ops.aten._flash_attention_forward
        torch.ops.aten._safe_softmax.default zero_
    """,
    "convolutions, pooling and images": """
        grid_sampler_2d grid_sampler_3d nn.functional.adaptive_avg_pool1d
        nn.functional.adaptive_avg_pool2d nn.functional.adaptive_avg_pool3d
        nn.functional.adaptive_max_pool1d nn.functional.adaptive_max_pool2d
        nn.functional.adaptive_max_pool3d nn.functional.avg_pool1d nn.functional.avg_pool2d
        nn.functional.avg_pool3d nn.functional.channel_shuffle nn.functional.conv1d
        nn.functional.conv2d nn.functional.conv3d nn.functional.conv_transpose1d
        nn.functional.conv_transpose2d nn.functional.conv_transpose3d
        nn.functional.fractional_max_pool2d nn.functional.fractional_max_pool3d
        nn.functional.grid_sample nn.functional.interpolate:area
        nn.functional.interpolate:bicubic nn.functional.interpolate:bilinear
        nn.functional.interpolate:linear nn.functional.interpolate:nearest
        nn.functional.interpolate:nearest-exact nn.functional.interpolate:trilinear
        nn.functional.max_pool1d nn.functional.max_pool2d nn.functional.max_pool3d
        nn.functional.max_unpool1d nn.functional.max_unpool1d:grad
        nn.functional.max_unpool2d nn.functional.max_unpool2d:grad
        nn.functional.max_unpool3d nn.functional.max_unpool3d:grad
        nn.functional.pixel_shuffle nn.functional.pixel_unshuffle nn.functional.unfold
        nn.functional.upsample_bilinear nn.functional.upsample_nearest
    """,
    "padding but with a constant": """
        nn.functional.pad:circular nn.functional.pad:reflect nn.functional.pad:replicate
        nn.functional.pad:replicate_negative
    """,
    "normalisations but layer_norm and rms_norm": """
        nn.functional.batch_norm nn.functional.batch_norm:without_cudnn
        nn.functional.group_norm nn.functional.instance_norm
        nn.functional.local_response_norm nn.functional.normalize
    """,
    "activations but relu, gelu and silu": """
        nn.functional.celu nn.functional.elu nn.functional.glu nn.functional.hardshrink
        nn.functional.hardsigmoid nn.functional.hardswish nn.functional.hardtanh
        nn.functional.leaky_relu nn.functional.logsigmoid nn.functional.mish
        nn.functional.prelu nn.functional.relu6 nn.functional.selu nn.functional.softplus
        nn.functional.softshrink nn.functional.softsign nn.functional.tanhshrink
        nn.functional.threshold
    """,
    "losses and distances but cross_entropy and linear_cross_entropy": """
        nn.functional.binary_cross_entropy nn.functional.binary_cross_entropy_with_logits
        nn.functional.cosine_embedding_loss nn.functional.cosine_similarity
        nn.functional.ctc_loss nn.functional.gaussian_nll_loss
        nn.functional.hinge_embedding_loss nn.functional.huber_loss nn.functional.kl_div
        nn.functional.l1_loss nn.functional.margin_ranking_loss nn.functional.mse_loss
        nn.functional.multi_margin_loss nn.functional.multilabel_margin_loss
        nn.functional.multilabel_soft_margin_loss
        nn.functional.nll_loss nn.functional.pairwise_distance nn.functional.pdist
        nn.functional.poisson_nll_loss nn.functional.smooth_l1_loss
        nn.functional.soft_margin_loss nn.functional.triplet_margin_loss
        nn.functional.triplet_margin_with_distance_loss
    """,
    "layers that a GPT does not have": """
        nn.functional.bilinear nn.functional.embedding_bag
        nn.functional.multi_head_attention_forward nn.functional.one_hot
    """,
    "arrays made from nothing: NumPy makes them": """
        arange cartesian_prod combinations eye full full_like linspace
        linspace:tensor_overload logspace logspace:tensor_overload meshgrid:list_of_tensors
        meshgrid:variadic_tensors ones scalar_tensor tril_indices triu_indices zeros
    """,
    "sorting, searching and counting": """
        argsort argwhere bincount bucketize cummax cummin histc histogram histogramdd
        kthvalue median mode msort nonzero nonzero_static quantile searchsorted sort topk
        unique unique_consecutive unravel_index
    """,
    "nan is never left out": """
        fmax fmin nan_to_num nanmean nanmedian nanquantile nansum
    """,
    "masked reductions: where does it": """
        masked.amax masked.amin masked.argmax masked.argmin masked.cumprod masked.cumsum
        masked.log_softmax masked.logaddexp masked.logsumexp masked.mean masked.median
        masked.norm masked.normalize masked.prod masked.softmax masked.softmin masked.std
        masked.sum masked.var
    """,
    "writing into a tensor: Tensors are not written to": """
        diagonal_scatter index_add index_copy index_fill index_put index_reduce:amax
        index_reduce:amin index_reduce:mean index_reduce:prod masked_scatter put scatter
        scatter_add scatter_reduce:amax scatter_reduce:amin scatter_reduce:mean
        scatter_reduce:prod scatter_reduce:sum select_scatter slice_scatter
    """,
    "shapes that reshape, getitem, concat or broadcast_to express": """
        atleast_1d atleast_2d atleast_3d broadcast_tensors column_stack diag diag_embed
        diagflat diagonal diagonal_copy diff dstack gradient repeat rot90 tile unfold
        unfold_copy
    """,
    "cumulative products": """
        cumprod
    """,
}
